"""A task that goes to be tried again is often claimed by the worker that had it."""

from __future__ import annotations

import threading
import time

import pytest

from jobrunner.db.engine import Database
from jobrunner.node import settler
from tests.both_databases.moves import left, row
from tests.node import waiting_tasks
from tests.node.waiting_tasks import begun
from tests.node.working import submit, until, working


def test_claimed_anew_before_the_word_of_its_record_it_begins_after_that(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint of a commit may be quicker than the thread that committed: this one dawdles."""
    waiting_tasks.reset()
    with working(database, poll_interval=0.05) as node:

        def dawdle(point: str) -> None:
            if point == "settle-after-commit":
                node.worker.heard_of_work()
                time.sleep(0.4)

        monkeypatch.setattr(settler, "hit", dawdle)
        [task_id] = submit(database, 1, "node.fails_once")
        until(lambda: row(database, task_id).status == "completed", "it is tried again")
        assert begun() == [task_id, task_id]
        assert [one.outcome for one in left(database, task_id)] == ["error"]
        assert row(database, task_id).attempt == 2
        until(lambda: len(node.held) == 0, "nothing is held")


def test_a_handler_that_says_its_lease_is_lost_where_it_is_not_has_failed(database: Database) -> None:
    with working(database, poll_interval=0.05):
        [task_id] = submit(database, 1, "node.says_lost")
        until(lambda: row(database, task_id).status == "failed", "its attempts end")
    assert [(one.outcome, one.error_class) for one in left(database, task_id)] == [
        ("error", "jobrunner.errors.LeaseLost")
    ] * 3


def test_claimed_anew_while_its_worker_stops_it_goes_back_to_the_queue(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting_tasks.reset()
    with working(database, poll_interval=0.05) as node:
        claimed = threading.Event()

        def dawdle(point: str) -> None:
            if point == "settle-after-commit" and not claimed.is_set():
                node.worker.heard_of_work()
                until(lambda: row(database, task_id).attempt == 2, "it is claimed anew")
                node.worker.drain("the test says so")
                claimed.set()
                time.sleep(0.1)

        monkeypatch.setattr(settler, "hit", dawdle)
        [task_id] = submit(database, 1, "node.fails_once")
        until(claimed.is_set, "it fails, and is claimed anew")
    assert begun() == [task_id]
    assert [one.outcome for one in left(database, task_id)] == ["error", "released"]
    assert row(database, task_id).status == "pending"
