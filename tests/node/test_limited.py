"""A worker and a queue that limits what runs: one after the other, and each as soon as there is room for it."""

from __future__ import annotations

import pytest

from jobrunner.db.engine import Database
from jobrunner.node import feed
from jobrunner.queue import store
from tests.node import waiting_tasks
from tests.node.working import statuses, submit, until, working


@pytest.fixture(autouse=True)
def _reset() -> None:
    waiting_tasks.reset()


def test_an_end_makes_room_for_the_next_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else has the worker look: neither a poll, nor that it found something a moment ago."""
    monkeypatch.setattr(feed, "SOON", 30.0)
    submit(database, 8, "node.nap", queue="one at a time")
    with database.begin() as conn:
        store.limit_queue(conn, "one at a time", max_running=1)
    with working(database, poll_interval=30.0):
        until(lambda: statuses(database) == {"completed": 8}, "all of them, one by one")


def test_a_worker_never_runs_more_than_a_queue_allows(database: Database) -> None:
    submit(database, 5, "node.wait", queue="few", payload={"until": "g"})
    submit(database, 5, "node.wait", queue="free", payload={"until": "g"})
    with database.begin() as conn:
        store.limit_queue(conn, "few", max_running=2)
    with working(database, poll_interval=0.1) as worker:
        until(lambda: statuses(database)["running"] == 7, "two of the one, all of the other")
        worker.submit(1, "node.quick", queue="free")
        until(lambda: statuses(database)["completed"] == 1, "it claims on")
        assert statuses(database)["running"] == 7
        with database.begin() as conn:
            store.limit_queue(conn, "few", max_running=None)
        until(lambda: statuses(database)["running"] == 10, "the limit is lifted")
        waiting_tasks.open_all()
        until(lambda: statuses(database) == {"completed": 11}, "all of them")
