"""Short looks take what they know of; what they cannot know of does not wait for the end of a backlog."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.node import looking
from jobrunner.node.looking import REACH, Lookout, Source
from jobrunner.queue import store, views
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Claimed, Room

ROOM = Room("async", ("work",), 1)
BACKLOG = 1_500


def test_an_urgent_task_in_a_new_lane_is_found_while_the_known_lane_never_runs_dry(database: Database) -> None:
    with database.begin() as conn:
        store.enqueue_many(conn, [new_task("work", {}) for _ in range(BACKLOG)], fresh=True)
    lookout = Lookout(database, Source("node", None, 30.0))
    assert [task.priority for task in lookout.look([ROOM], everywhere=False).tasks] == [5]
    with database.begin() as conn:
        store.enqueue(conn, new_task("work", {}, priority=1))

    taken = (lookout.look([ROOM], everywhere=False).tasks[0].priority for _ in range(BACKLOG - 1))
    assert 1 in taken, "the whole backlog went first"


def test_where_a_full_look_is_dear_a_longer_one_finds_what_was_committed_late(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a full one what neither can know of: a new lane."""
    reached: list[float | None] = []
    claim_into = store.claim_into

    def watched(*args: Any, **given: Any) -> Claimed:
        reached.append(None if given["after"] is None else given["late"])
        return claim_into(*args, **given)

    monkeypatch.setattr(store, "claim_into", watched)
    monkeypatch.setattr(looking, "DEAR", -1.0)
    monkeypatch.setattr(looking, "DEAR_SHARE", 1e9)
    with database.begin() as conn:
        now = views.now(conn)
        store.enqueue(conn, new_task("work", {}, run_at=now))
    lookout = Lookout(database, Source("node", None, 30.0))
    monkeypatch.setattr(looking, "FULL_SHARE", 0)
    assert len(lookout.look([ROOM], everywhere=True).tasks) == 1
    assert lookout.look([ROOM], everywhere=True).tasks == []
    with database.begin() as conn:
        store.enqueue(conn, new_task("work", {}, task_id="late", run_at=now - timedelta(seconds=REACH / 2)))
        store.enqueue(conn, new_task("work", {}, task_id="new lane", priority=1))
    first = lookout.look([ROOM], everywhere=False).tasks
    second = lookout.look([ROOM], everywhere=True).tasks
    assert [task.task_id for task in [*first, *second]] == ["late"]
    monkeypatch.setattr(lookout, "_dear_until", 0.0)
    monkeypatch.setattr(lookout, "_full_at", 0.0)
    assert [task.task_id for task in lookout.look([ROOM], everywhere=True).tasks] == ["new lane"]
    assert reached[:2] == [None, None]
    assert REACH in reached
    assert reached[-1] is None


def test_a_limited_queue_does_not_wait_until_full_looks_are_cheap_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may fill all the room meanwhile; and what it gave is kept where the look for the others fails."""
    monkeypatch.setattr(looking, "DEAR", -1.0)
    monkeypatch.setattr(looking, "DEAR_TASK", 0.0)
    monkeypatch.setattr(looking, "DEAR_SHARE", 1e9)
    monkeypatch.setattr(looking, "FULL_SHARE", 0)
    with database.begin() as conn:
        store.limit_queue(conn, "few", max_running=2)
        store.enqueue_many(conn, [new_task("work", {}, queue="many") for _ in range(9)], fresh=True)
    lookout = Lookout(database, Source("node", None, 30.0))

    def look(room: int) -> list[str]:
        return [task.queue for task in lookout.look([replace(ROOM, wanted=room)], everywhere=True).tasks]

    assert look(1) + look(1) == ["many", "many"]
    with database.begin() as conn:
        store.enqueue_many(conn, [new_task("work", {}, queue="few") for _ in range(3)], fresh=True)
    with monkeypatch.context() as broken:
        broken.setattr(store, "claim_into", _unavailable)
        assert look(1) == ["few"]
        with pytest.raises(DatabaseUnavailable):
            look(0)
    assert look(3) == ["few", "many", "many"]
    assert look(2) == ["many", "many"], "it has as many as it may"


def _unavailable(*_args: Any, **_given: Any) -> Claimed:
    raise DatabaseUnavailable("it is away")
