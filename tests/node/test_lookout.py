"""Short looks take what they know of; what they cannot know of does not wait for the end of a backlog."""

from __future__ import annotations

from jobrunner.db.engine import Database
from jobrunner.node.looking import Lookout, Source
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Room

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
