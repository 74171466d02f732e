"""Cancel, retry, expire, prune."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobrunner.db.engine import Database
from jobrunner.db.types import db_now
from jobrunner.errors import StateConflict, TaskNotFound
from jobrunner.queue import store, views
from jobrunner.queue.task import Ending, Outcome, Status
from tests.both_databases.moves import BROKEN, add, change, end, left, row, take


def test_a_pending_task_is_cancelled_at_once(database: Database) -> None:
    add(database, task_id="t")
    with database.begin() as conn:
        assert store.cancel(conn, "t", "not wanted") is Status.CANCELLED
        assert store.cancel(conn, "t") is Status.CANCELLED
    assert take(database) == []
    assert row(database, "t").error == "not wanted"


def test_what_ended_cannot_be_cancelled_and_what_is_not_there_neither(database: Database) -> None:
    add(database, task_id="t")
    end(database, take(database)[0])
    with database.begin() as conn:
        with pytest.raises(StateConflict) as refused:
            store.cancel(conn, "t")
        with pytest.raises(TaskNotFound):
            store.cancel(conn, "none")
    assert refused.value.found == "completed"


@pytest.mark.parametrize("ending", [BROKEN, Outcome(Ending.CANCELLED)])
def test_a_retry_by_hand_opens_a_new_generation(database: Database, ending: Outcome) -> None:
    add(database, task_id="t", max_attempts=1)
    end(database, take(database)[0], ending)
    with database.begin() as conn:
        store.retry(conn, "t")
    found = row(database, "t")
    assert (found.status, found.generation, found.failures, found.attempt) == ("pending", 1, 0, 1)
    task = take(database)[0]
    assert (task.lease.attempt, task.generation) == (2, 1)
    assert end(database, task) is Status.COMPLETED
    assert [one.generation for one in left(database, "t")] == [0]


def test_open_and_completed_tasks_cannot_be_retried(database: Database) -> None:
    add(database, task_id="t")
    with database.begin() as conn, pytest.raises(StateConflict):
        store.retry(conn, "t")
    end(database, take(database)[0])
    with database.begin() as conn, pytest.raises(StateConflict):
        store.retry(conn, "t")


def test_a_retry_yields_to_an_open_task_of_the_same_unique_key(database: Database) -> None:
    add(database, task_id="old", unique_key="k", max_attempts=1)
    end(database, take(database)[0], BROKEN)
    add(database, task_id="new", unique_key="k")
    with pytest.raises(StateConflict), database.begin() as conn:
        store.retry(conn, "old")
    assert row(database, "old").status == "failed"


def test_what_waited_past_its_time_is_cancelled(database: Database) -> None:
    add(database, task_id="late")
    add(database, task_id="in-time", expires_at=datetime(2100, 1, 1, tzinfo=UTC))
    with database.begin() as conn:
        change(conn, "late", expires_at=db_now(-1))
        assert store.expire(conn) == 1
    assert row(database, "late").error == "expired before it could start"
    assert row(database, "in-time").status == "pending"


def test_pruning_ends_only_what_is_past_its_retention(database: Database) -> None:
    for name, ending in (("done", Outcome(Ending.COMPLETED)), ("failed", BROKEN), ("open", None)):
        add(database, task_id=name, max_attempts=1)
        if ending:
            end(database, take(database)[0], ending)
    with database.begin() as conn:
        for name in ("done", "failed"):
            change(conn, name, finished_at=db_now(-10 * 86_400))
        assert store.prune_tasks(conn, completed_days=7, failed_days=30) == 1
    with database.read() as conn:
        assert {task.task_id for task in views.tasks_page(conn).tasks} == {"failed", "open"}
    with database.begin() as conn:
        change(conn, "failed", finished_at=db_now(-31 * 86_400))
        assert store.prune_tasks(conn, completed_days=7, failed_days=30) == 1


@pytest.mark.parametrize("ends", ["settle", "release", "reclaim"])
def test_the_reason_of_a_cancel_is_kept_however_the_attempt_ends(database: Database, ends: str) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    with database.begin() as conn:
        store.cancel(conn, "t", "wrong file")
        if ends == "settle":
            store.settle(conn, [(task, BROKEN)])
        elif ends == "release":
            store.release(conn, [task], "draining")
        else:
            store.reclaim(conn, all_leases=True)
    found = row(database, "t")
    assert (found.status, found.error) == ("cancelled", "wrong file")
