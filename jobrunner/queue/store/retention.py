"""The end of old rows."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, or_, select

from jobrunner.db.tables import firings, node_samples, nodes, tasks
from jobrunner.db.types import db_now
from jobrunner.queue.task import Status

_t = tasks.c
DAY = 86_400.0
FIRINGS_OUTLIVE = 30 * DAY  # a firing outlives its task, so that no instant fires twice
SAMPLES_KEPT = DAY
NODES_KEPT = DAY  # after their last heartbeat


def prune_tasks(conn: Connection, *, completed_days: float, failed_days: float, limit: int = 1_000) -> int:
    """Delete up to ``limit`` tasks that ended longer ago than their retention, with attempts and logs."""
    kept = {Status.COMPLETED: completed_days, Status.CANCELLED: completed_days, Status.FAILED: failed_days}
    old = or_(*(and_(_t.status == status, _t.finished_at < db_now(-days * DAY)) for status, days in kept.items()))
    chosen = (
        select(_t.id)
        .where(_t.finished_at < db_now(-min(kept.values()) * DAY), old)
        .order_by(_t.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    # RETURNING, since sqlite3 counts no rows of a statement that begins with WITH.
    return len(conn.execute(delete(tasks).where(_t.id.in_(select(chosen.c.id))).returning(_t.id)).all())


def prune_rest(conn: Connection, *, longest_days: float) -> int:
    """Delete samples older than a day, nodes silent for a day, and firings that outlived their tasks."""
    gone = 0
    for statement in (
        delete(node_samples).where(node_samples.c.at < db_now(-SAMPLES_KEPT)),
        delete(nodes).where(nodes.c.heartbeat_at < db_now(-NODES_KEPT)),
        delete(firings).where(firings.c.fired_at < db_now(-(longest_days * DAY + FIRINGS_OUTLIVE))),
    ):
        gone += conn.execute(statement).rowcount
    return gone
