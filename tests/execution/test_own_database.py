"""Effects that children commit themselves on PostgreSQL, together with their task or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, text

from jobrunner.db.engine import Database, open_database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.execution import own_database
from jobrunner.execution.children import ChildPool
from jobrunner.execution.own_database import OwnDatabase
from jobrunner.handlers import get
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from jobrunner.queue.task import Ending, Outcome, Status, Task
from tests.both_databases.moves import change, row
from tests.execution.harness import QUICK, Told, go, opened
from tests.execution.writing_tasks import WRITTEN


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    opened_database = open_database(postgres_url)
    with opened_database.begin() as conn:
        conn.execute(text("CREATE TABLE written (n integer)"))
    yield opened_database
    opened_database.dispose()


def _claimed(database: Database, task_type: str, payload: dict[str, Any]) -> Task:
    with database.begin() as conn:
        store.enqueue(conn, new_task(task_type, payload, task_id="t"))
        [task] = store.claim(conn, "node", types=[task_type], queues=None, limit=1, lease_seconds=30)
    return task


def _run(database: Database, task: Task) -> Outcome:
    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            url = database.url.render_as_string(hide_password=False)
            return await pool.run(task, get(task.task_type), Told(url))

    outcome: Outcome = go(run())
    return outcome


def _written(database: Database) -> list[int]:
    with database.read() as conn:
        return list(conn.execute(select(WRITTEN.c.n).order_by(WRITTEN.c.n)).scalars())


def _lose(database: Database) -> None:
    with database.begin() as conn:
        change(conn, "t", token="another's")


def _cancel(database: Database) -> None:
    with database.begin() as conn:
        store.cancel(conn, "t")


def test_an_effect_commits_together_with_its_task(database: Database) -> None:
    outcome = _run(database, _claimed(database, "write on complete", {"rows": [1, 2]}))
    assert outcome == Outcome(Ending.COMPLETED, result='"done"', settled=True)
    assert _written(database) == [1, 2]
    found = row(database, "t")
    assert (found.status, found.result) == (Status.COMPLETED, '"done"')


@pytest.mark.parametrize(("befell", "ending"), [(_lose, Ending.LOST), (_cancel, Ending.CANCELLED)])
def test_an_effect_that_may_not_commit_leaves_nothing(
    database: Database, befell: Callable[[Database], None], ending: Ending
) -> None:
    task = _claimed(database, "write on complete", {"rows": [1]})
    befell(database)
    outcome = _run(database, task)
    assert outcome.ending is ending
    assert outcome.settled is False
    assert _written(database) == []
    assert row(database, "t").status == Status.RUNNING


def test_an_effect_that_fails_is_the_attempts_failure_and_leaves_nothing(database: Database) -> None:
    outcome = _run(database, _claimed(database, "fail on complete", {"rows": [1]}))
    assert outcome.ending is Ending.ERROR
    assert outcome.error == "half way"
    assert "writing_tasks.py" in (outcome.traceback or "")
    assert outcome.effects == ()
    assert _written(database) == []


def test_an_effect_now_stands_while_the_lease_does(database: Database) -> None:
    task = _claimed(database, "write now", {"rows": [1, 2, 3]})
    assert _run(database, task).result == "3"
    assert _written(database) == [1, 2, 3]
    _lose(database)
    assert _run(database, task).ending is Ending.LOST
    assert _written(database) == [1, 2, 3]


def test_a_lost_lease_can_be_caught(database: Database) -> None:
    task = _claimed(database, "write now, caught", {"rows": [1]})
    _lose(database)
    assert "another attempt" in (_run(database, task).result or "")


def _in_transaction(database: Database, then: str) -> Outcome:
    return _run(database, _claimed(database, "write in transaction", {"rows": [1], "then": then}))


@pytest.mark.parametrize("then", ["return", "raise after"])
def test_a_handlers_own_transaction_settles_its_task(database: Database, then: str) -> None:
    assert _in_transaction(database, then) == Outcome(Ending.COMPLETED, result='{"rows":1}', settled=True)
    assert _written(database) == [1, 100]
    assert row(database, "t").status == Status.COMPLETED


def test_a_transaction_without_completion_commits_and_the_task_goes_on(database: Database) -> None:
    outcome = _in_transaction(database, "leave open")
    assert (outcome.ending, outcome.settled) == (Ending.COMPLETED, False)
    assert _written(database) == [1]
    assert row(database, "t").status == Status.RUNNING


@pytest.mark.parametrize(
    ("then", "error_class"),
    [
        ("raise inside", "ValueError"),
        ("unstorable", "InvalidResult"),
        ("nest", "jobrunner.errors.HandlerError"),
    ],
)
def test_a_transaction_that_fails_leaves_nothing(database: Database, then: str, error_class: str) -> None:
    outcome = _in_transaction(database, then)
    assert (outcome.ending, outcome.error_class, outcome.settled) == (Ending.ERROR, error_class, False)
    assert _written(database) == []
    assert row(database, "t").status == Status.RUNNING


@pytest.mark.parametrize(("befell", "ending"), [(_lose, Ending.LOST), (_cancel, Ending.CANCELLED)])
@pytest.mark.parametrize("then", ["return", "leave open"])
def test_a_transaction_of_an_attempt_that_does_not_own_its_task_leaves_nothing(
    database: Database, befell: Callable[[Database], None], ending: Ending, then: str
) -> None:
    task = _claimed(database, "write in transaction", {"rows": [1], "then": then})
    befell(database)
    outcome = _run(database, task)
    if (befell, then) == (_cancel, "leave open"):  # it owns the task still, and settles it later
        assert outcome.ending is Ending.COMPLETED
        assert _written(database) == [1]
    else:
        assert (outcome.ending, outcome.settled) == (ending, False)
        assert _written(database) == []


def test_a_child_has_one_connection_and_gives_it_up_with_its_life(database: Database) -> None:
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

    async def run() -> tuple[int, int]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            told = Told(database.url.render_as_string(hide_password=False))
            task = _claimed(database, "write now", {"rows": [1]})
            for _ in range(3):
                assert (await pool.run(task, get("write now"), told)).ending is Ending.COMPLETED
            with database.begin() as conn:
                during = conn.execute(text(others)).scalar_one()
        await asyncio.sleep(0.2)
        with database.begin() as conn:
            return during, conn.execute(text(others)).scalar_one()

    assert go(run()) == (1, 0)


@pytest.fixture
def own(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnDatabase]:
    """What a child writes through, with little time for an effect."""
    monkeypatch.setattr(own_database, "EFFECT_DEADLINE", 0.5)
    found = OwnDatabase(lambda: database.url.render_as_string(hide_password=False))
    yield found
    found._database.dispose()


def test_an_effect_now_has_less_time_than_its_handler(database: Database, own: OwnDatabase) -> None:
    task = _claimed(database, "write now", {"rows": []})
    begun = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        own.apply(task.lease, "write slowly", [10], 3600.0)
    assert time.monotonic() - begun < 5
    assert _written(database) == []


def test_a_completion_has_less_time_than_its_handler_and_is_left_to_the_worker(
    database: Database, own: OwnDatabase
) -> None:
    task = _claimed(database, "write on complete", {"rows": []})
    outcome = Outcome(Ending.COMPLETED, result="1", effects=(("write slowly", [10]),))
    begun = time.monotonic()
    assert own.complete(task, outcome, 3600.0) == outcome
    assert time.monotonic() - begun < 5
    assert row(database, "t").status == Status.RUNNING


def test_a_handlers_own_transaction_has_all_the_time_of_its_handler(database: Database, own: OwnDatabase) -> None:
    task = _claimed(database, "write in transaction", {"rows": []})
    context: Any = None
    with own.transaction(task, context, 3600.0) as opened_one:
        opened_one.conn.execute(text("SELECT pg_sleep(1)"))
        opened_one.conn.execute(text("INSERT INTO written VALUES (7)"))
    assert _written(database) == [7]


def test_an_effect_whose_value_cannot_be_told_leaves_nothing(database: Database) -> None:
    outcome = _run(database, _claimed(database, "write oddly now", {"rows": [1]}))
    assert (outcome.ending, outcome.error_class) == (Ending.ERROR, "jobrunner.errors.HandlerError")
    assert "/odd/1" in (outcome.error or "")
    assert _written(database) == []


def test_a_handlers_own_transaction_has_an_idle_limit_of_its_own(database: Database, own: OwnDatabase) -> None:
    task = _claimed(database, "write in transaction", {"rows": []})
    context: Any = None
    shown = text("SHOW idle_in_transaction_session_timeout")
    with own.transaction(task, context, 30.0) as opened_one:
        assert opened_one.conn.execute(shown).scalar_one() == "1min"
    with database.begin() as conn:
        assert conn.execute(shown).scalar_one() == "15s"


@pytest.mark.parametrize(
    ("where", "who"),
    [
        ("applied", "effect 'write and commit'"),
        ("on complete", "effect 'write and commit'"),
        ("transaction", "ctx.transaction()"),
    ],
)
def test_who_commits_by_itself_fails_and_leaves_nothing(database: Database, where: str, who: str) -> None:
    outcome = _run(database, _claimed(database, "write and commit", {"where": where}))
    assert outcome.ending is Ending.ERROR
    assert (outcome.error or "").startswith(f"{who} would have ended jobrunner's transaction")
    assert _written(database) == []
