"""Operations: each step changes what it may and says so; any process goes on where another stopped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, text

from jobrunner.background import operations as duty
from jobrunner.background.operations import Operations
from jobrunner.background.tending import Tending
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import operations, tasks
from jobrunner.db.types import db_now
from jobrunner.errors import DatabaseUnavailable, OperationNotFound
from jobrunner.queue import store, views
from jobrunner.queue.operation import Action
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Chosen, Step
from jobrunner.queue.store import operations as stepping
from jobrunner.queue.store.many import Changed
from jobrunner.queue.task import Status
from jobrunner.queue.views import OperationView, TaskFilter
from tests.both_databases.moves import BROKEN, DONE, add, change, end, row, take

ALL_WORK = TaskFilter(task_type="work")


def fill(database: Database, count: int, **options: Any) -> None:
    with database.begin() as conn:
        store.enqueue_many(conn, [new_task("work", {}, task_id=f"t{n:03}", **options) for n in range(count)])


def begin(database: Database, action: Action, chosen: Chosen | None = None, **told: Any) -> str:
    given = {"queues": None, "dry_run": False, "by": "the test", **told}
    with database.begin() as conn:
        return store.begin_operation(conn, action, chosen or Chosen(filter=ALL_WORK), **given)


def step(database: Database, **sizes: Any) -> Step | None:
    with database.begin() as conn:
        return store.step_operation(conn, **sizes)


def steps(database: Database, **sizes: Any) -> int:
    """Take them all; returns how many it took."""
    count = 0
    while step(database, **sizes) is not None:
        count += 1
        assert count < 100
    return count


def told(database: Database, operation_id: str) -> OperationView:
    with database.read() as conn:
        return views.one_operation(conn, operation_id)


def figures(database: Database, operation_id: str) -> tuple[str, int, int, int]:
    view = told(database, operation_id)
    return view.state, view.matched, view.changed, view.unchanged


def statuses(database: Database) -> Counter[str]:
    with database.read() as conn:
        return Counter(dict(conn.execute(select(tasks.c.status, func.count()).group_by(tasks.c.status)).all()))


def test_a_cancel_ends_what_waits_and_asks_what_runs(database: Database) -> None:
    fill(database, 7)
    running = take(database, 2)
    end(database, take(database, 1)[0])
    operation = begin(database, Action.CANCEL)
    found = step(database)
    assert found is not None
    assert found.done
    assert found.asked
    assert found.ended == ("t003", "t004", "t005", "t006")
    assert figures(database, operation) == ("done", 6, 6, 0)
    assert statuses(database) == {"running": 2, "completed": 1, "cancelled": 4}
    assert row(database, "t003").error == f"cancelled by operation {operation}"
    assert end(database, running[0]) is Status.CANCELLED
    assert step(database) is None


@pytest.mark.parametrize(("size", "window"), [(1, 1), (2, 3), (3, 2), (50, 4), (4, 50)])
def test_steps_of_any_size_come_to_the_same(database: Database, size: int, window: int) -> None:
    for number in range(12):
        add(database, "work" if number % 3 else "other", task_id=f"t{number}")
    operation = begin(database, Action.CANCEL)
    assert steps(database, step=size, window=window) > 1
    assert figures(database, operation) == ("done", 8, 8, 0)
    assert told(database, operation).progress == 1.0
    assert statuses(database) == {"cancelled": 8, "pending": 4}


def test_what_comes_after_its_beginning_is_not_its_business(database: Database) -> None:
    fill(database, 3)
    operation = begin(database, Action.CANCEL)
    add(database, task_id="later")
    step(database)
    assert figures(database, operation) == ("done", 3, 3, 0)
    assert row(database, "later").status == "pending"


def test_it_touches_no_queue_but_its_callers(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "theirs"):
        add(database, task_id=name, queue=name)
    by_filter = begin(database, Action.CANCEL, queues=["mine", "none"])
    step(database)
    by_ids = begin(database, Action.CANCEL, Chosen(ids=["theirs"]), queues=["mine"])
    step(database)
    assert figures(database, by_filter) == ("done", 1, 1, 0)
    assert figures(database, by_ids) == ("done", 0, 0, 1), "as if it were not there"
    assert row(database, "theirs").status == "pending"
    of_all = begin(database, Action.CANCEL)
    with database.read() as conn:
        assert views.all_operations(conn, ["theirs"]) == []
        assert [view.id for view in views.all_operations(conn)] == [of_all, by_ids, by_filter]
        monkeypatch.setattr("jobrunner.queue.views.operations.OPERATIONS_MOST", 1)
        assert [view.id for view in views.all_operations(conn, ["mine"])] == [by_ids], "whatever others began since"
        assert [view.id for view in views.all_operations(conn, ["mine", "none", "it's"])] == [by_ids]
        for named in (by_filter, of_all):
            with pytest.raises(OperationNotFound):
                views.one_operation(conn, named, ["mine"])


def test_by_ids_whatever_cannot_be_changed_is_counted(database: Database) -> None:
    fill(database, 4)
    end(database, take(database, 1)[0])
    operation = begin(database, Action.CANCEL, Chosen(ids=["t000", "t001", "t003", "none"]))
    assert steps(database, step=1) >= 2
    assert figures(database, operation) == ("done", 2, 2, 2)
    assert statuses(database) == {"completed": 1, "cancelled": 2, "pending": 1}


def test_a_retry_opens_new_generations_but_of_keys_that_are_taken(database: Database) -> None:
    for name, key in (("a", None), ("b", "taken"), ("c", "free")):
        add(database, task_id=name, unique_key=key, max_attempts=1)
        end(database, take(database, 1)[0], BROKEN)
    add(database, task_id="d", unique_key="taken", run_at=None, delay=100)
    operation = begin(database, Action.RETRY, Chosen(filter=TaskFilter(statuses=(Status.FAILED,))))
    found = step(database)
    assert found is not None
    assert found.woke
    assert figures(database, operation) == ("done", 3, 2, 1)
    assert [(row(database, name).status, row(database, name).generation) for name in "abc"] == [
        ("pending", 1),
        ("failed", 0),
        ("pending", 1),
    ]
    assert (row(database, "a").failures, row(database, "a").error) == (0, None)


def test_only_ended_tasks_are_deleted(database: Database) -> None:
    fill(database, 4)
    end(database, take(database, 1)[0])
    end(database, take(database, 1)[0], BROKEN)
    with database.begin() as conn:
        change(conn, "t001", status="failed", finished_at=db_now())
    take(database, 1)
    operation = begin(database, Action.DELETE)
    steps(database)
    assert figures(database, operation) == ("done", 2, 2, 0)
    assert statuses(database) == {"pending": 1, "running": 1}


def test_a_dry_run_counts_to_its_cap_and_changes_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, 9)
    operation = begin(database, Action.CANCEL, dry_run=True)
    steps(database, window=4)
    assert figures(database, operation) == ("done", 9, 0, 0)
    assert not told(database, operation).capped
    for module in ("store", "views"):
        monkeypatch.setattr(f"jobrunner.queue.{module}.operations.COUNT_MOST", 5)
    operation = begin(database, Action.CANCEL, dry_run=True)
    steps(database, window=4)
    assert (figures(database, operation), told(database, operation).capped) == (("done", 5, 0, 0), True)
    assert statuses(database) == {"pending": 9}


def test_an_aborted_operation_goes_no_further(database: Database) -> None:
    fill(database, 6)
    operation = begin(database, Action.CANCEL)
    step(database, step=2)
    assert 0 < told(database, operation).progress < 1
    with database.begin() as conn:
        store.abort_operation(conn, operation)
        store.abort_operation(conn, operation)
    assert step(database) is None
    assert figures(database, operation) == ("aborted", 2, 2, 0)
    assert statuses(database) == {"cancelled": 2, "pending": 4}


def test_every_part_of_a_filter_is_kept_with_it(database: Database) -> None:
    fill(database, 2, tags=["urgent"], queue="q")
    add(database, task_id="t9", tags=["urgent"])
    with database.read() as conn:
        now = views.now(conn)
    wish = TaskFilter((Status.PENDING,), "work", "q", None, "urgent", None, now.replace(year=2000), now, "t00")
    operation = begin(database, Action.CANCEL, Chosen(filter=wish))
    steps(database)
    assert figures(database, operation) == ("done", 2, 2, 0)
    kept = told(database, operation).filter
    assert kept is not None
    assert sorted(kept) == ["created_after", "created_before", "q", "queue", "status", "tag", "type"]


def test_the_duties_carry_on_and_tell_who_waits(database: Database) -> None:
    fill(database, 5)
    ended: list[str] = []
    hints: list[str] = []
    take(database, 1)
    operation = begin(database, Action.CANCEL)
    carries_on = Operations(
        database, ended=ended.extend, cancel_hint=lambda: hints.append("cancel"), wake=lambda: hints.append("work")
    )
    tending = Tending(database, lambda: None, lease_seconds=30.0, heartbeat_interval=10.0, operations=carries_on)
    tending.look()
    assert figures(database, operation) == ("done", 5, 5, 0)
    assert ended == ["t001", "t002", "t003", "t004"]
    assert hints == ["cancel"]
    with database.read() as conn:
        assert not views.due(conn).operations


def test_what_somebody_holds_is_waited_for_and_in_the_end_passed_by(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(postgres_url, pool_size=4)
    fill(database, 5)
    operation = begin(database, Action.CANCEL)
    carries_on = Operations(database)
    with database.begin() as conn:
        conn.execute(text("SELECT 1 FROM tasks WHERE task_id = 't002' FOR UPDATE"))
        assert carries_on.carry_on()
        assert figures(database, operation) == ("running", 4, 4, 0), "the others are done, and it comes back"
        assert carries_on.carry_on()
        assert figures(database, operation) == ("running", 4, 4, 0)
    assert any(not carries_on.carry_on() for _ in range(10)), "one call ends it, unless the machine is busy"
    assert figures(database, operation) == ("done", 5, 5, 0)

    monkeypatch.setattr(duty, "HELD_FOR", 0.0)
    add(database, task_id="held")
    operation = begin(database, Action.CANCEL)
    with database.begin() as conn:
        conn.execute(text("SELECT 1 FROM tasks WHERE task_id = 'held' FOR UPDATE"))
        assert carries_on.carry_on()
        assert any(not carries_on.carry_on() for _ in range(10))
    assert figures(database, operation) == ("done", 1, 0, 1)
    database.dispose()


@pytest.mark.parametrize("ends_badly", [True, False])
def test_a_retry_tries_nothing_twice_while_a_task_is_held(postgres_url: str, ends_badly: bool) -> None:
    """The walk comes back to the one that is held, and over those behind it, which have failed again meanwhile."""
    database = open_database(postgres_url, pool_size=4)
    fill(database, 3, max_attempts=1)
    for one in take(database, 3):
        end(database, one, BROKEN)
    operation = begin(database, Action.RETRY)
    with database.begin() as conn:
        conn.execute(text("SELECT 1 FROM tasks WHERE task_id = 't000' FOR UPDATE"))
        for _ in range(3):
            step(database)
            for one in take(database, 3):
                end(database, one, BROKEN if ends_badly else DONE)
    step(database)
    assert figures(database, operation) == ("done", 3, 3, 0)
    assert [row(database, f"t00{number}").generation for number in range(3)] == [1, 1, 1]
    database.dispose()


def test_an_operation_that_fails_bars_no_other(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """As one that newer code began: its filter says what this code does not know. It is told, and tried again later."""
    fill(database, 2)
    with database.begin() as conn:
        of_newer_code = {"chosen": '{"filter": {"newer": 1}}', "created_at": db_now(-10)}
        conn.execute(insert(operations).values(id="x", action="cancel", upto=10, created_by="newer", **of_newer_code))
    good = begin(database, Action.CANCEL)
    carries_on = Operations(database)
    assert not carries_on.carry_on()
    assert figures(database, good) == ("done", 2, 2, 0)
    assert "'newer'" in (told(database, "x").error or "")
    assert told(database, "x").filter == {"newer": 1}
    assert len(caplog.records) == 1
    assert not carries_on.carry_on()
    assert not carries_on.carry_on("x")
    assert len(caplog.records) == 2, "told when it is tried, and not at each look"
    with database.begin() as conn:
        conn.execute(operations.update().values(chosen='{"filter": {}, "error": "as before"}'))
    step(database)
    assert (told(database, "x").state, told(database, "x").error) == ("done", None)


def test_a_step_that_takes_too_long_is_tried_with_fewer_tasks(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is given up even with a single task is put behind the others, as any that fails."""
    fill(database, 4)
    operation = begin(database, Action.CANCEL)
    tried: list[int] = []
    most = [3]

    def slow(_conn: Connection, picked: Sequence[int], _operation_id: str) -> Changed:
        tried.append(len(picked))
        if len(picked) > most[0]:
            time.sleep(0.06)
            raise DatabaseUnavailable("the statement was given up")
        return Changed(frozenset(picked), frozenset(picked))

    monkeypatch.setattr(stepping, "CHANGES", {Action.CANCEL: slow})
    monkeypatch.setattr(duty, "LIMIT", 0.05)
    monkeypatch.setattr(duty, "STEP", 8)
    carries_on = Operations(database)
    while carries_on.carry_on(operation):
        assert len(tried) < 10
    assert tried == [4, 4, 2, 2]
    assert figures(database, operation) == ("done", 4, 4, 0)

    most[0] = 0
    operation = begin(database, Action.CANCEL)
    while carries_on.carry_on():
        assert len(tried) < 20
    assert tried[-1] == 1
    assert told(database, operation).error == "DatabaseUnavailable: the statement was given up"


def test_a_statement_over_its_limit_is_given_up_and_is_no_outage(grown_up: Database) -> None:
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT max(i) FROM n"
    sound = grown_up.sound_for()
    with pytest.raises(DatabaseUnavailable), grown_up.begin(limit=0.1) as conn:
        conn.exec_driver_sql(long)
    with grown_up.begin() as conn:
        conn.exec_driver_sql("SELECT 1")
    assert grown_up.sound_for() == sound > 0


def test_two_processes_never_take_the_same_step(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=4)
    fill(database, 4)
    begin(database, Action.CANCEL)
    with database.begin() as conn:
        assert store.step_operation(conn, step=2) is not None
        assert step(database) is None, "another is at it"
    assert steps(database, step=2) == 2
    database.dispose()


def test_old_operations_are_forgotten(database: Database) -> None:
    done, running = begin(database, Action.CANCEL), begin(database, Action.RETRY)
    with database.begin() as conn:
        conn.execute(operations.update().where(operations.c.id == done).values(state="done", ended_at=db_now(-1e7)))
        store.prune_rest(conn, longest_days=7)
    with database.read() as conn:
        assert [view.id for view in views.all_operations(conn)] == [running]
