"""Nodes as people see them, and the task types that they published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, select

from jobrunner.db.tables import node_samples, nodes, task_types
from jobrunner.db.types import db_now
from jobrunner.errors import NodeNotFound

MOST = 1_000  # of a list
MISSED_BEATS = 3  # heartbeats a node may miss before it counts as gone


@dataclass(frozen=True)
class NodeView:
    """One node. ``alive`` is derived from its heartbeat; memory figures are in bytes."""

    id: str
    name: str
    host: str
    pid: int
    address: str | None
    version: str
    state: str
    reason: str | None
    queues: Any
    types: Any
    slots: int
    running: int
    stuck: int
    completed: int
    failed: int
    busy_seconds: float
    cpu_percent: float
    memory_percent: float
    disk_percent: float
    load: float
    rss: int
    cpu_count: int
    memory_total: int
    heartbeat_interval: float
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    drain_requested_at: datetime | None
    alive: bool = False


_NODE = [nodes.c[name] for name in NodeView.__dataclass_fields__ if name != "alive"]
ALIVE = and_(nodes.c.stopped_at.is_(None), nodes.c.heartbeat_at > db_now(-MISSED_BEATS * nodes.c.heartbeat_interval))
"""That a node lives: it did not say goodbye, and has missed few beats."""


def all_nodes(conn: Connection, *, alive_only: bool = False) -> list[NodeView]:
    """The nodes, living ones first, by name; MOST of them at most."""
    found = select(*_NODE, ALIVE.label("alive")).order_by(ALIVE.desc(), nodes.c.name, nodes.c.started_at.desc())
    if alive_only:
        found = found.where(ALIVE)
    return [_node(dict(row._mapping)) for row in conn.execute(found.limit(MOST))]


def one_node(conn: Connection, node_id: str) -> NodeView:
    """One node of the last day; raises NodeNotFound."""
    row = conn.execute(select(*_NODE, ALIVE.label("alive")).where(nodes.c.id == node_id)).one_or_none()
    if row is None:
        raise NodeNotFound(node_id)
    return _node(dict(row._mapping))


def _node(told: dict[str, Any]) -> NodeView:
    for name in ("queues", "types"):
        told[name] = None if told[name] is None else json.loads(told[name])
    return NodeView(**{**told, "alive": bool(told["alive"])})


def samples(conn: Connection, node_id: str, since_seconds: float = 3_600.0) -> list[dict[str, Any]]:
    """A node's figures over the last hour (or ``since_seconds``, at most a day), oldest first."""
    kept = node_samples.c
    found = select(node_samples).where(kept.node_id == node_id, kept.at > db_now(-since_seconds)).order_by(kept.at)
    return [dict(row._mapping) for row in conn.execute(found)]


def published_types(conn: Connection) -> list[dict[str, Any]]:
    """Every task type that a worker ever published, with its JSON Schema."""
    rows = conn.execute(select(task_types).order_by(task_types.c.name))
    return [{**row._mapping, "schema": json.loads(row.schema)} for row in rows]


def types_and_nodes(conn: Connection) -> list[tuple[dict[str, Any], list[str]]]:
    """Every published type, with the ids of the living nodes that claim it: those told to drain claim nothing."""
    ready = [node for node in all_nodes(conn, alive_only=True) if node.drain_requested_at is None]
    return [(told, sorted(node.id for node in ready if told["name"] in node.types)) for told in published_types(conn)]
