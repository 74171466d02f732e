"""The end of old rows."""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, select, text

from jobrunner.db.market import import_loads
from jobrunner.db.tables import FAILED, NOT_FAILED, audit, firings, node_samples, nodes, operations, tasks
from jobrunner.db.types import among, db_now

_t = tasks.c
DAY = 86_400.0
FIRINGS_OUTLIVE = 30 * DAY  # a firing outlives its task, so that no instant fires twice
SAMPLES_KEPT = DAY
OPERATIONS_KEPT = 30 * DAY  # after their end
NODES_KEPT = DAY  # after their last heartbeat
LOADS_AT_ONCE = 10  # each may take thousands of outcomes and rejected rows with it


def prune_tasks(conn: Connection, *, completed_days: float, failed_days: float, limit: int = 1_000) -> int:
    """Delete up to ``limit`` tasks that ended longer ago than their retention, with attempts and logs."""
    gone = _prune(conn, NOT_FAILED, completed_days, limit)
    return gone + (_prune(conn, FAILED, failed_days, limit - gone) if gone < limit else 0)


def _prune(conn: Connection, which: str, days: float, limit: int) -> int:
    chosen = (
        select(_t.id)
        .where(text(which), _t.finished_at < db_now(-days * DAY))
        .order_by(_t.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    # RETURNING, since sqlite3 counts no rows of a statement that begins with WITH.
    return len(conn.execute(delete(tasks).where(among(_t.id, select(chosen.c.id))).returning(_t.id)).all())


def prune_audit(conn: Connection, days: float, *, limit: int = 1_000) -> int:
    """Delete up to ``limit`` entries of the audit that are older than so many days, the oldest first."""
    chosen = select(audit.c.id).where(audit.c.at < db_now(-days * DAY)).order_by(audit.c.at).limit(limit).cte("old")
    return len(conn.execute(delete(audit).where(among(audit.c.id, select(chosen.c.id))).returning(audit.c.id)).all())


def prune_rest(conn: Connection, *, longest_days: float, loads: int = LOADS_AT_ONCE) -> int:
    """Delete samples older than a day, nodes silent for a day, firings that outlived their tasks, old operations, and
    old loads.

    At most ``loads`` records of imports go, with their outcomes and rejected rows, the oldest first: those that began
    more than ``longest_days`` ago and whose task is gone. Bars stay.
    """
    gone = 0
    for statement in (
        delete(node_samples).where(node_samples.c.at < db_now(-SAMPLES_KEPT)),
        delete(nodes).where(nodes.c.heartbeat_at < db_now(-NODES_KEPT)),
        delete(firings).where(firings.c.fired_at < db_now(-(longest_days * DAY + FIRINGS_OUTLIVE))),
        delete(operations).where(operations.c.ended_at < db_now(-OPERATIONS_KEPT)),
    ):
        gone += conn.execute(statement).rowcount
    return gone + _prune_loads(conn, longest_days, loads)


def _prune_loads(conn: Connection, longest_days: float, limit: int) -> int:
    _l = import_loads.c
    # A task that is still there may run again, and goes on from what its load already holds.
    chosen = (
        select(_l.load_id)
        .where(_l.started_at < db_now(-longest_days * DAY), ~exists().where(_t.task_id == _l.task_id))
        .order_by(_l.started_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("old_loads")
    )
    old = delete(import_loads).where(among(_l.load_id, select(chosen.c.load_id)))
    return len(conn.execute(old.returning(_l.load_id)).all())
