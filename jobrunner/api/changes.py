"""What changed in the queue between two looks: the states that event streams tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobrunner.db.engine import Database
from jobrunner.queue import views
from jobrunner.queue.views import TaskView

NEWEST, RUNNING, ENDED = 50, 200, 50  # tasks that one look takes in


@dataclass(frozen=True)
class States:
    """The present states: of tasks, by id (status, and a mark that differs after any visible change), and of others."""

    tasks: dict[str, tuple[str, str]]
    nodes: dict[str, str]
    schedules: dict[str, str]

    def since(self, before: States) -> dict[str, Any]:
        """What is different from ``before``: ids and present statuses only. Empty when nothing is."""
        told = {
            "tasks": {name: now[0] for name, now in self.tasks.items() if before.tasks.get(name) != now},
            "nodes": _different(self.nodes, before.nodes),
            "schedules": _different(self.schedules, before.schedules),
        }
        return {kind: found for kind, found in told.items() if found}


NOTHING = States({}, {}, {})


def look(database: Database) -> States:
    """The newest, the running and the last ended tasks, the nodes and the schedules, by queries that indexes answer."""
    with database.read() as conn:
        seen = [
            *views.tasks_page(conn, limit=NEWEST).tasks,
            *views.running(conn, RUNNING),
            *views.last_ended(conn, ENDED),
        ]
        nodes = views.all_nodes(conn)
        schedules = views.all_schedules(conn)
    return States(
        {view.task_id: (str(view.status), _mark(view)) for view in seen},
        {node.id: f"{node.state} {node.alive} {node.running}" for node in nodes},
        {one.name: f"{one.next_at} {one.paused} {one.fired_at}" for one in schedules},
    )


def _mark(view: TaskView) -> str:
    return f"{view.attempt} {view.generation} {view.progress} {view.message} {view.cancel_requested_at}"


def _different(now: dict[str, str], before: dict[str, str]) -> list[str]:
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
