"""Recording how attempts ended: effects with their task or not at all, and nothing that blocks the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database, open_database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.execution.attempt import failed
from jobrunner.handlers import registry
from jobrunner.node import lane
from jobrunner.node import settler as room
from jobrunner.node.reports import Gathered
from jobrunner.node.settler import Fate, Settler
from jobrunner.queue import store
from jobrunner.queue.task import Ending, LogLine, Outcome, Status, Task
from tests.both_databases.moves import add, age_lease, change, left, reclaim, row, take

DONE = Outcome(Ending.COMPLETED, result='{"ok":true}')


@pytest.fixture(autouse=True)
def _effects(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"write": _write, "fail": _fail, "no table": _no_table, "bad value": _bad_value}
    monkeypatch.setattr(registry, "get_effect", known.__getitem__)


def _write(conn: Any, rows: list[Any]) -> None:
    for one in rows:
        conn.execute(text("INSERT INTO ledger (task_id, attempt) VALUES (:task_id, :attempt)"), one)


def _fail(conn: Any, rows: list[Any]) -> None:
    _write(conn, rows)
    raise ValueError("wrong \x00 after its write")


def _no_table(conn: Any, rows: list[Any]) -> None:
    _write(conn, rows)
    conn.execute(text("INSERT INTO nowhere VALUES (1)"))


def _bad_value(conn: Any, rows: list[Any]) -> None:
    conn.execute(text("INSERT INTO ledger (task_id, attempt) VALUES (NULL, 1)"))


def _with(effect: str, task: Task) -> Outcome:
    rows = [{"task_id": task.task_id, "attempt": task.lease.attempt}]
    return Outcome(Ending.COMPLETED, result='{"ok":true}', effects=((effect, rows),))


def _settle(database: Database, outcomes: Sequence[tuple[Task, Outcome]], within: float = 10.0) -> dict[str, Fate]:
    """Hand them all to a settler at once; what became of each."""
    fates: dict[str, Fate] = {}

    async def run() -> None:
        reports = Gathered(database)
        settler = Settler(database, reports, Ends(), lambda *fate: fates.update({fate[0].task_id: fate}), _failed)
        for task, outcome in outcomes:
            settler.add(task, outcome)
        settler.close()
        await asyncio.wait_for(settler.run(), within)
        assert settler.idle()

    asyncio.run(run())
    return fates


def _failed(_task: Task, error: Exception) -> Outcome:
    return failed(error)


def _claimed(database: Database, count: int, **options: Any) -> list[Task]:
    for number in range(count):
        add(database, task_id=f"t{number}", **options)
    return take(database, count)


def _written(database: Database) -> list[str]:
    with database.read() as conn:
        return sorted(conn.execute(text("SELECT task_id FROM ledger")).scalars())


def test_an_effect_stands_with_its_task(database: Database) -> None:
    [task] = _claimed(database, 1)
    fates = _settle(database, [(task, _with("write", task))])
    assert fates["t0"][2] is Status.COMPLETED
    assert (row(database, "t0").status, _written(database)) == ("completed", ["t0"])


@pytest.mark.parametrize(
    ("effect", "told"), [("fail", "after its write"), ("no table", "nowhere"), ("bad value", "null")]
)
def test_an_effect_that_fails_fails_its_attempt_and_leaves_nothing(database: Database, effect: str, told: str) -> None:
    bad, good = _claimed(database, 2)
    begun = time.monotonic()
    fates = _settle(database, [(bad, _with(effect, bad)), (good, _with("write", good))])
    assert fates[bad.task_id][2] is Status.PENDING
    assert fates[good.task_id][2] is Status.COMPLETED
    assert _written(database) == [good.task_id]
    [ended] = left(database, bad.task_id)
    assert (ended.outcome, row(database, bad.task_id).failures) == ("error", 1)
    assert told in ended.error.lower()
    assert time.monotonic() - begun < 5, "a wrong effect is no outage that is waited out"


def test_effects_of_who_lost_the_task_are_undone(database: Database) -> None:
    [task] = _claimed(database, 1)
    age_lease(database, "t0", 1)
    assert reclaim(database) == ["t0"]
    [again] = take(database)
    fates = _settle(database, [(task, _with("write", task))])
    assert fates["t0"][2] is None
    assert (row(database, "t0").status, _written(database)) == ("running", [])
    assert _settle(database, [(again, _with("write", again))])["t0"][2] is Status.COMPLETED
    assert _written(database) == ["t0"]


def test_a_cancel_that_came_first_undoes_the_effects(database: Database) -> None:
    [task] = _claimed(database, 1)
    with database.begin() as conn:
        store.cancel(conn, "t0")
    assert _settle(database, [(task, _with("write", task))])["t0"][2] is Status.CANCELLED
    assert (row(database, "t0").status, _written(database)) == ("cancelled", [])


def test_an_outcome_that_cannot_be_stored_blocks_no_other(database: Database) -> None:
    """Whatever slipped through the cleaning: here a result that is no JSON, and a name that is no text."""
    tasks = _claimed(database, 4)
    unstorable = Outcome(Ending.COMPLETED, result="{no json")
    odd = Outcome(Ending.ERROR, error="a lone \ud800 surrogate", delay=60.0)
    fates = _settle(database, [(tasks[0], DONE), (tasks[1], unstorable), (tasks[2], odd), (tasks[3], DONE)])
    assert len(fates) == 4
    assert [row(database, task.task_id).status for task in (tasks[0], tasks[3])] == ["completed"] * 2
    assert row(database, tasks[2].task_id).status == "pending"
    assert row(database, tasks[1].task_id).status != "running"


def test_an_outage_costs_no_outcome(postgres_url: str) -> None:
    """The connection is gone at the first try: the attempt went well all the same, and is recorded so."""
    database = Database(postgres_url, pool_size=1)
    [task] = _claimed(database, 1)
    with database.begin() as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with database.begin(free=True) as conn:
        conn.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
    assert _settle(database, [(task, DONE)])["t0"][1:] == (DONE, Status.COMPLETED)
    assert (row(database, "t0").status, left(database, "t0")) == ("completed", [])
    database.dispose()


def test_lines_that_cannot_be_stored_cost_no_outcome(database: Database) -> None:
    [task] = _claimed(database, 1)
    fates: list[Fate] = []

    async def run() -> None:
        reports = Gathered(database)
        settler = Settler(database, reports, Ends(), lambda *fate: fates.append(fate), _failed)
        at = row(database, "t0").created_at
        reports.logs(task.lease, [LogLine(at, "info", "a NUL \x00 and a lone \ud800"), LogLine(at, "info", "sound")])
        reports.progress(task.lease, 0.5, "half\x00way")
        settler.add(task, DONE)
        settler.close()
        await asyncio.wait_for(settler.run(), 10)

    asyncio.run(run())
    assert [fate[2] for fate in fates] == [Status.COMPLETED]


def test_effects_that_find_no_connection_wait_for_one_and_cost_no_try(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue's own connections stand, and no further one is let in: for longer than effects are tried."""
    [task] = _claimed(database, 1)
    monkeypatch.setattr(room, "EFFECT_PATIENCE", 0.0)
    tries = 0

    def begin(*given: Any, free: bool = False, **options: Any) -> Any:
        nonlocal tries
        tries += free
        if free and tries <= 2 * room.EFFECT_TRIES:
            raise DatabaseUnavailable("the server takes no further connection")
        return whole(*given, free=free, **options)

    whole = database.begin
    monkeypatch.setattr(database, "begin", begin)
    monkeypatch.setattr(lane, "RETRY_CAP", 0.1)
    assert _settle(database, [(task, _with("write", task))])[task.task_id][2] is Status.COMPLETED
    assert tries == 2 * room.EFFECT_TRIES + 1


def test_effects_that_the_database_always_breaks_off_are_given_up(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that outlasts every deadline must not be tried for ever, nor hold up the others meanwhile."""
    database = open_database(postgres_url)
    with database.begin() as conn:
        conn.execute(text("CREATE TABLE ledger (task_id text NOT NULL, attempt integer NOT NULL)"))
    monkeypatch.setattr(room, "EFFECT_DEADLINE", 0.2)
    monkeypatch.setattr(room, "EFFECT_TRIES", 3)
    monkeypatch.setattr(room, "EFFECT_PATIENCE", 0.3)
    monkeypatch.setattr(
        registry,
        "get_effect",
        {"write": _write, "slow": lambda conn, rows: conn.execute(text("SELECT pg_sleep(5)"))}.__getitem__,
    )
    slow, good = _claimed(database, 2)
    fates = _settle(database, [(slow, _with("slow", slow)), (good, _with("write", good))])
    assert list(fates) == [good.task_id, slow.task_id], "the sound one first"
    assert fates[slow.task_id][2] is Status.PENDING
    assert row(database, slow.task_id).failures == 1
    with database.begin() as conn:
        change(conn, slow.task_id, message="still writable")
    database.dispose()
