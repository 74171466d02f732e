"""A transaction that is not the writer's to end: what would end it is refused, and what did is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database
from jobrunner.db.held import held
from jobrunner.errors import HandlerError
from jobrunner.execution.attempt import failed
from jobrunner.handlers import registry
from jobrunner.node.reports import Gathered
from jobrunner.node.settler import Fate, Settler
from jobrunner.queue.task import Ending, Outcome, Status, Task
from tests.both_databases.moves import add, left, take

Act = Callable[[Connection], object]


def _write(conn: Connection) -> None:
    conn.execute(text("INSERT INTO ledger (task_id, attempt) VALUES ('t', 1)"))


def _swallow(act: Act) -> Act:
    def swallowing(conn: Connection) -> None:
        try:
            act(conn)
        except HandlerError:
            return

    return swallowing


def _write_and_commit_after(conn: Connection) -> None:
    _swallow(Connection.rollback)(conn)
    _write(conn)


def _by_session(conn: Connection) -> None:
    with Session(bind=conn) as session:
        session.execute(text("INSERT INTO ledger (task_id, attempt) VALUES ('t', 2)"))
        session.rollback()


def _raw(statement: str) -> Act:
    return lambda conn: conn.connection.driver_connection.execute(statement)  # type: ignore[union-attr]  # both drivers have it


REFUSED: dict[str, Act] = {
    "commit": Connection.commit,
    "rollback": Connection.rollback,
    "close": Connection.close,
    "transaction": lambda conn: conn.get_transaction().commit(),  # type: ignore[union-attr]  # one is open
    "session": _by_session,
    "statement": lambda conn: conn.execute(text(" commit")),
    "comment": lambda conn: conn.exec_driver_sql("/* all */ ROLLBACK"),
    "swallowed": _swallow(Connection.commit),
    "swallowed statement": _swallow(lambda conn: conn.execute(text("END"))),
    "swallowed, then more": _write_and_commit_after,
}


def _written(database: Database) -> int:
    with database.read() as conn:
        return int(conn.execute(text("SELECT count(*) FROM ledger")).scalar_one())


def _hold(database: Database, act: Act) -> None:
    with database.begin(free=True) as conn:
        with held(conn, "effect 'x'"):
            _write(conn)
            act(conn)


def test_what_would_end_it_is_refused_and_the_connection_stays_sound(database: Database) -> None:
    """One database for all: a new one for each way would take longer than all of them."""
    for written, (how, act) in enumerate(REFUSED.items()):
        with pytest.raises(
            HandlerError, match=r"^effect 'x' would have ended jobrunner's transaction; leave commit and"
        ):
            _hold(database, act)
        assert _written(database) == written, how
        _hold(database, lambda conn: None)
        assert _written(database) == written + 1, how


def test_what_goes_past_sqlalchemy_is_found(database: Database) -> None:
    for statement, stands in (("ROLLBACK", 0), ("COMMIT", 1)):
        with pytest.raises(
            HandlerError, match=r"^effect 'x' ended jobrunner's transaction; .* before a COMMIT stands$"
        ):
            _hold(database, _raw(statement))
        assert _written(database) == stands
    _hold(database, lambda conn: None)
    assert _written(database) == 2


def test_a_failure_after_the_end_is_told_with_its_cause_and_a_begin_with_better_advice(database: Database) -> None:
    def act(conn: Connection) -> None:
        _raw("COMMIT")(conn)
        raise ValueError("after it")

    with pytest.raises(HandlerError, match="ended jobrunner's transaction") as found:
        _hold(database, act)
    assert str(found.value.__cause__) == "after it"

    with pytest.raises(HandlerError, match=r"began a transaction inside jobrunner's: .* begin_nested\(\)"):
        _hold(database, Connection.begin)
    assert _written(database) == 1


def test_savepoints_and_sessions_are_free_to_end_their_own(database: Database) -> None:
    def act(conn: Connection) -> None:
        with conn.begin_nested():
            _write(conn)
        undone = conn.begin_nested()
        _write(conn)
        undone.rollback()
        with Session(bind=conn) as session:
            session.execute(text("INSERT INTO ledger (task_id, attempt) VALUES ('t', 2)"))
            session.commit()

    _hold(database, act)
    assert _written(database) == 3
    with database.begin(free=True) as conn:
        with held(conn, "effect 'x'"):
            _write(conn)
            with held(conn, "effect 'y'"):
                _write(conn)
        conn.rollback()  # whose it is again
    assert _written(database) == 3


def test_who_holds_it_around_another_holds_it_still(database: Database) -> None:
    def act(conn: Connection) -> None:
        with held(conn, "effect 'y'"):
            _write(conn)
        conn.commit()

    with pytest.raises(HandlerError, match=r"^effect 'x' would"):
        _hold(database, act)
    assert _written(database) == 0


def test_what_the_block_raises_goes_through(database: Database) -> None:
    def fail(conn: Connection) -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        _hold(database, fail)
    with pytest.raises(DBAPIError, match="nowhere"):
        _hold(database, lambda conn: conn.execute(text("INSERT INTO nowhere VALUES (1)")))
    assert _written(database) == 0


@pytest.fixture
def _effects(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(conn: Connection, rows: list[Any]) -> None:
        conn.execute(text("INSERT INTO ledger (task_id, attempt) VALUES (:task_id, 1)"), rows)

    def with_end(end: Act) -> Callable[[Connection, list[Any]], None]:
        def ending(conn: Connection, rows: list[Any]) -> None:
            write(conn, rows)
            end(conn)

        return ending

    known = {"write": write, **{how: with_end(act) for how, act in REFUSED.items()}}
    monkeypatch.setattr(registry, "get_effect", known.__getitem__)


@pytest.mark.usefixtures("_effects")
def test_an_effect_that_would_end_it_fails_its_own_attempt_and_no_others(database: Database) -> None:
    names = [part for how in REFUSED for part in (how, "write")]
    for number in range(len(names)):
        add(database, task_id=f"t{number}")
    fates: list[Fate] = []

    async def run() -> None:
        settler = Settler(database, Gathered(database), Ends(), lambda *fate: fates.append(fate), _failed)
        for task, name in zip(take(database, len(names)), names, strict=True):
            effects = ((name, [{"task_id": task.task_id}]),)
            settler.add(task, Outcome(Ending.COMPLETED, result="1", effects=effects))
        settler.close()
        await asyncio.wait_for(settler.run(), 30)

    asyncio.run(run())
    assert [status for _, _, status in fates] == [Status.PENDING, Status.COMPLETED] * len(REFUSED)
    assert _written(database) == len(REFUSED)
    [ended] = left(database, "t0")
    assert ended.error.startswith("effect 'commit' would have ended jobrunner's transaction")


def _failed(_task: Task, error: Exception) -> Outcome:
    return failed(error)
