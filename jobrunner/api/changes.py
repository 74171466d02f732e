"""What changed in the queue between two looks: the states that event streams tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from jobrunner.db.engine import Database
from jobrunner.queue import views
from jobrunner.queue.task import Status
from jobrunner.queue.views import TaskFilter, TaskView

NEWEST, RUNNING, ENDED = 50, 200, 50  # tasks that one look takes in
AMONG = 2_000  # of the newest tasks, among which those of named queues are looked for
LAST = 200  # of the tasks that ended last, likewise
OPEN_MOST = 500  # tasks that were told as pending or running, and are looked for by their ids
OPEN = frozenset({str(Status.PENDING), str(Status.RUNNING)})


@dataclass(frozen=True)
class States:
    """The present states: of tasks, by id (status, and a mark that differs after any visible change), and of others."""

    tasks: dict[str, tuple[str, str]]
    nodes: dict[str, str]
    schedules: dict[str, str]

    def present(self) -> dict[str, Any]:
        """All of it, in the form of what is different."""
        return self.since(NOTHING)

    def since(self, before: States) -> dict[str, Any]:
        """What is different from ``before``: ids and present statuses only. Empty when nothing is."""
        told = {
            "tasks": {name: now[0] for name, now in self.tasks.items() if before.tasks.get(name) != now},
            "nodes": _different(self.nodes, before.nodes),
            "schedules": _different(self.schedules, before.schedules),
        }
        return {kind: found for kind, found in told.items() if found}

    def left_open(self, now: States) -> list[str]:
        """The tasks that were pending or running here, and that ``now`` tells nothing of."""
        return [name for name, (status, _) in self.tasks.items() if status in OPEN and name not in now.tasks]


NOTHING = States({}, {}, {})


def look(database: Database, queues: Collection[str] | None = None, before: States = NOTHING) -> States:
    """The newest, the running and the last ended tasks, the nodes and the schedules, by queries that indexes answer.

    And those that ``before`` told as pending or running, up to ``OPEN_MOST``: else nobody would hear of their end where
    more end at a time than a look takes in. ``queues`` are the only ones to tell of: then neither nodes nor schedules,
    which are not theirs alone.
    """
    with database.read() as conn:
        if queues is not None:
            newest = views.tasks_page(conn, TaskFilter(queues=queues), limit=NEWEST, walk=AMONG).tasks
            ended = [view for view in views.last_ended(conn, LAST) if view.queue in queues]
            seen = States(_tasks([*newest, *views.running(conn, RUNNING, queues), *ended]), {}, {})
            return _with_left(conn, seen, before, queues)
        found = [
            *views.tasks_page(conn, limit=NEWEST).tasks,
            *views.running(conn, RUNNING),
            *views.last_ended(conn, ENDED),
        ]
        tasks = _with_left(conn, States(_tasks(found), {}, {}), before, None).tasks
        nodes = views.all_nodes(conn)
        schedules = views.all_schedules(conn)
    return States(
        tasks,
        {node.id: f"{node.state} {node.alive} {node.running}" for node in nodes},
        {one.name: f"{one.next_at} {one.paused} {one.fired_at}" for one in schedules},
    )


def _with_left(conn: Connection, now: States, before: States, queues: Collection[str] | None) -> States:
    """``now``, and what was open before; without it where that is too much."""
    left = before.left_open(now)
    if not left or len(left) > OPEN_MOST:
        return now
    found = [view for view in views.listed_among(conn, left) if queues is None or view.queue in queues]
    return States({**now.tasks, **_tasks(found)}, now.nodes, now.schedules)


def merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What several looks in a row found different, as it stood at the last of them."""
    told: dict[str, Any] = {}
    for part in parts:
        for kind, found in part.items():
            if kind == "tasks":
                told[kind] = {**told.get(kind, {}), **found}
            else:
                told[kind] = sorted({*told.get(kind, ()), *found})
    return told


def _tasks(seen: list[TaskView]) -> dict[str, tuple[str, str]]:
    return {view.task_id: (str(view.status), _mark(view)) for view in seen}


def _mark(view: TaskView) -> str:
    return f"{view.attempt} {view.generation} {view.progress} {view.message} {view.cancel_requested_at}"


def _different(now: dict[str, str], before: dict[str, str]) -> list[str]:
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
