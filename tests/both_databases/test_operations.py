"""Operations: each step changes what it may and says so; any process goes on where another stopped."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select, text

from jobrunner.background import operations as duty
from jobrunner.background.operations import Operations
from jobrunner.background.tending import Tending
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import operations, tasks
from jobrunner.db.types import db_now
from jobrunner.queue import store, views
from jobrunner.queue.operation import Action
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Chosen, Step
from jobrunner.queue.task import Status
from jobrunner.queue.views import OperationView, TaskFilter
from tests.both_databases.moves import BROKEN, add, change, end, row, take

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


def test_it_touches_no_queue_but_its_callers(database: Database) -> None:
    for name in ("mine", "theirs"):
        add(database, task_id=name, queue=name)
    by_filter = begin(database, Action.CANCEL, queues=["mine", "none"])
    step(database)
    by_ids = begin(database, Action.CANCEL, Chosen(ids=["theirs"]), queues=["mine"])
    step(database)
    assert figures(database, by_filter) == ("done", 1, 1, 0)
    assert figures(database, by_ids) == ("done", 0, 0, 1), "as if it were not there"
    assert row(database, "theirs").status == "pending"
    with database.read() as conn:
        assert views.all_operations(conn, ["theirs"]) == []
        assert len(views.all_operations(conn, ["mine"])) == 1
        assert len(views.all_operations(conn)) == 2


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
    assert not carries_on.carry_on()
    assert figures(database, operation) == ("done", 5, 5, 0)

    monkeypatch.setattr(duty, "HELD_FOR", 0.0)
    add(database, task_id="held")
    operation = begin(database, Action.CANCEL)
    with database.begin() as conn:
        conn.execute(text("SELECT 1 FROM tasks WHERE task_id = 'held' FOR UPDATE"))
        assert carries_on.carry_on()
        assert not carries_on.carry_on()
    assert figures(database, operation) == ("done", 1, 0, 1)
    database.dispose()


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
