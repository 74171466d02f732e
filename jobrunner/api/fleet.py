"""The figures that the guide's health and statistics tell: this process's own, or all nodes' where it only serves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobrunner.api.service import NodeFacts, Service
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue import views
from jobrunner.queue.views import NodeView

FLEET = "fleet"
LOST = "lost"
WITHIN = 5.0  # seconds: old clients give up after ten


def facts(service: Service) -> tuple[NodeFacts, bool]:
    """The figures, and whether the database is lost."""
    own = service.node() if service.node is not None else None
    nodes: list[NodeView] = []
    try:
        with service.database.read(deadline=WITHIN) as conn:
            moment = views.now(conn)
            if own is None:
                nodes = views.all_nodes(conn, alive_only=True)
    except DatabaseUnavailable:
        return own or _sum([], service.settings.name, None), True
    return own or _sum(nodes, service.settings.name, moment), False


def _sum(nodes: Sequence[NodeView], name: str, moment: datetime | None) -> NodeFacts:
    """Counts added up, percentages averaged. The fleet is as well as its best node; without any it is lost."""
    states = [node.state for node in nodes]
    best = next((state for state in ("active", "overloaded", "draining") if state in states), LOST)
    oldest = min((node.started_at for node in nodes), default=None)
    return NodeFacts(
        node_id=FLEET,
        node_name=name,
        state=best,
        max_workers=sum(node.slots for node in nodes),
        running=sum(node.running for node in nodes),
        completed=sum(node.completed for node in nodes),
        failed=sum(node.failed for node in nodes),
        busy_seconds=sum(node.busy_seconds for node in nodes),
        uptime_seconds=(moment - oldest).total_seconds() if moment and oldest else 0.0,
        cpu_percent=_mean([node.cpu_percent for node in nodes]),
        memory_percent=_mean([node.memory_percent for node in nodes]),
        disk_percent=max((node.disk_percent for node in nodes), default=0.0),
        cpu_count=sum(node.cpu_count for node in nodes),
        memory_total=sum(node.memory_total for node in nodes),
        types=tuple({kind for node in nodes for kind in node.types}),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
