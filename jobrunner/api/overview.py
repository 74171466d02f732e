"""How the queue stands, gathered once for the page and for its JSON; and the likely cause when all is not well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobrunner.queue import views
from jobrunner.queue.task import Status
from jobrunner.queue.views import Health, NodeView, ScheduleView, TaskView, shapes

SHOWN = 15  # rows of each list


@dataclass(frozen=True)
class Overview:
    """Everything the page shows. ``cause`` names why all is not well, ``ok`` when it is."""

    now: datetime
    health: Health
    cause: str
    counts: dict[Status, int]
    nodes: list[NodeView]
    running: list[TaskView]
    ended: list[TaskView]
    schedules: list[ScheduleView]


def gather(conn: Connection) -> Overview:
    """Read it all; ``schedules`` are the next to fire."""
    health = views.health(conn)
    nodes = views.all_nodes(conn)
    return Overview(
        now=views.now(conn),
        health=health,
        cause=cause(health, nodes),
        counts=views.counts(conn),
        nodes=nodes,
        running=views.running(conn, SHOWN),
        ended=views.last_ended(conn, SHOWN),
        schedules=views.all_schedules(conn),
    )


def cause(health: Health, nodes: Sequence[NodeView]) -> str:
    """ok, no_node, overloaded, draining, full, or nobody_takes_it: a due task waits although slots are free."""
    if health.verdict != "late":
        return health.verdict
    alive = [node for node in nodes if node.alive]
    active = [node for node in alive if node.state == "active"]
    if alive and not active:
        return "overloaded" if any(node.state == "overloaded" for node in alive) else "draining"
    return "full" if active and all(node.running >= node.slots for node in active) else "nobody_takes_it"


def as_dict(found: Overview) -> dict[str, Any]:
    """As JSON; the lists as in the calls of their own."""
    return {
        "now": shapes.moment(found.now),
        **shapes.overview_dict(found.health, found.counts),
        "cause": found.cause,
        **shapes.nodes_dict(found.nodes),
        "running": [shapes.task_dict(view, whole=False) for view in found.running],
        "last": [shapes.task_dict(view, whole=False) for view in found.ended],
        **shapes.schedules_dict(found.schedules),
    }
