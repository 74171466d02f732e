"""The rows of nodes and of the task types they publish. For people and admission; no task's fate hangs on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, null, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from jobrunner.db.tables import node_samples, nodes, task_types
from jobrunner.db.types import db_now
from jobrunner.errors import NodeAlive, NodeNotFound
from jobrunner.queue.views.nodes import ALIVE

SAMPLED = ("cpu_percent", "memory_percent", "rss", "running")


class Beat(NamedTuple):
    """What a node hears when it beats: whether its row is ``there``, and whether it shall claim nothing."""

    there: bool
    drains: bool


def register(conn: Connection, node: Mapping[str, Any], *, drains: bool = False) -> None:
    """Add this process's row; ``id`` is fresh at every start. ``drains`` where it was told to before the row went."""
    asked = db_now() if drains else null()
    conn.execute(insert(nodes).values(**node, started_at=db_now(), heartbeat_at=db_now(), drain_requested_at=asked))


def beat(conn: Connection, node_id: str, figures: Mapping[str, Any], *, sample: bool) -> Beat:
    """Renew the row with fresh figures, and keep a sample of them. Where the row is gone: register again."""
    here = update(nodes).where(nodes.c.id == node_id).values(**figures, heartbeat_at=db_now())
    row = conn.execute(here.returning(nodes.c.drain_requested_at)).one_or_none()
    if row is not None and sample:
        conn.execute(
            insert(node_samples).values(node_id=node_id, at=db_now(), **{name: figures[name] for name in SAMPLED})
        )
    return Beat(row is not None, row is not None and row.drain_requested_at is not None)


def drain_node(conn: Connection, node_id: str) -> None:
    """Have a node claim nothing from its next heartbeat on. Told already: nothing changes."""
    since = func.coalesce(nodes.c.drain_requested_at, db_now())
    conn.execute(update(nodes).where(nodes.c.id == node_id).values(drain_requested_at=since))


def resume_node(conn: Connection, node_id: str) -> None:
    """Have it claim again, from its next heartbeat on."""
    conn.execute(update(nodes).where(nodes.c.id == node_id).values(drain_requested_at=null()))


def stopped(conn: Connection, node_id: str, reason: str) -> None:
    """Say that this node ended in good order."""
    conn.execute(
        update(nodes)
        .where(nodes.c.id == node_id)
        .values(state="stopped", reason=reason, running=0, heartbeat_at=db_now(), stopped_at=db_now())
    )


def remove_node(conn: Connection, node_id: str) -> None:
    """Delete the row and the figures of a node that ended or fell silent; raises NodeNotFound, NodeAlive.

    One that was only silent adds its row again with its next heartbeat, and has not heard of a drain meanwhile.
    """
    if conn.execute(delete(nodes).where(nodes.c.id == node_id, ~ALIVE)).rowcount == 1:
        return
    if conn.execute(select(nodes.c.id).where(nodes.c.id == node_id)).first() is None:
        raise NodeNotFound(node_id)
    raise NodeAlive(node_id)


def publish(conn: Connection, types: Sequence[Mapping[str, Any]]) -> None:
    """Make task types known to whoever submits: name, JSON Schema (text), defaults. Unchanged ones are not written."""
    for kind in sorted(types, key=lambda row: str(row["name"])):
        values = dict(kind)
        fresh = upsert(task_types).values(**values, published_at=db_now())
        changed = [task_types.c[name].is_distinct_from(fresh.excluded[name]) for name in values if name != "name"]
        where = changed[0]
        for condition in changed[1:]:
            where |= condition
        told = {name: fresh.excluded[name] for name in values if name != "name"}
        conn.execute(
            fresh.on_conflict_do_update(
                index_elements=["name"], set_={**told, "published_at": fresh.excluded.published_at}, where=where
            )
        )


def published(conn: Connection, names: Sequence[str]) -> dict[str, Any]:
    """The rows of these types that somebody published, by name."""
    rows = conn.execute(select(task_types).where(task_types.c.name.in_(list(names)))).all()
    return {row.name: row for row in rows}
