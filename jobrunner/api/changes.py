"""What changed in the queue between two looks: the states that event streams tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from jobrunner.db.engine import Database
from jobrunner.queue import views
from jobrunner.queue.views import TaskFilter, TaskView

NEWEST, RUNNING, ENDED = 50, 200, 50  # tasks that one look takes in
AMONG = 2_000  # of the newest tasks, among which those of named queues are looked for
LAST = 200  # of the tasks that ended last, likewise


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


NOTHING = States({}, {}, {})


def look(database: Database, queues: Collection[str] | None = None) -> States:
    """The newest, the running and the last ended tasks, the nodes and the schedules, by queries that indexes answer.

    ``queues`` are the only ones to tell of: then neither nodes nor schedules, which are not theirs alone.
    """
    with database.read() as conn:
        if queues is not None:
            newest = views.tasks_page(conn, TaskFilter(queues=queues), limit=NEWEST, walk=AMONG).tasks
            ended = [view for view in views.last_ended(conn, LAST) if view.queue in queues]
            return States(_tasks([*newest, *views.running(conn, RUNNING, queues), *ended]), {}, {})
        seen = [
            *views.tasks_page(conn, limit=NEWEST).tasks,
            *views.running(conn, RUNNING),
            *views.last_ended(conn, ENDED),
        ]
        nodes = views.all_nodes(conn)
        schedules = views.all_schedules(conn)
    return States(
        _tasks(seen),
        {node.id: f"{node.state} {node.alive} {node.running}" for node in nodes},
        {one.name: f"{one.next_at} {one.paused} {one.fired_at}" for one in schedules},
    )


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
