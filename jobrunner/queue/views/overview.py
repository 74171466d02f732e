"""How the queue as a whole stands: counts, waits, nodes, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, exists, func, literal_column, or_, select, text, true

from jobrunner.db.due import FULL, PAUSED, waiting_queues
from jobrunner.db.tables import NOT_FAILED, PENDING, nodes, queues, task_types, tasks
from jobrunner.db.types import db_now
from jobrunner.queue.task import ENDED, PRIORITIES, Status
from jobrunner.queue.views.nodes import ALIVE

_t = tasks.c
COUNT_CAP = 10_000  # counts stop here, so that a page stays quick whatever the table holds
LATE_AFTER = 60.0  # seconds a due task may wait before something is wrong


def now(conn: Connection) -> datetime:
    """The database's clock."""
    told: datetime = conn.execute(select(db_now())).scalar_one()
    return told


def counts(conn: Connection) -> dict[Status, int]:
    """Tasks by status, each counted up to ``COUNT_CAP``."""
    row = conn.execute(select(*(_counted(status).label(status) for status in Status))).one()
    return {status: row._mapping[status] for status in Status}


def _counted(status: Status) -> ScalarSelect[int]:
    # Spelled out, and in the words of the indexes: a parameter hides from the planner that a partial index serves.
    some: Select[Any] = select(literal_column("1")).select_from(tasks).where(_t.status == literal_column(f"'{status}'"))
    # In the order of the index: where there are many, the planner would else look for them from the table's start, and
    # those of the other statuses may all stand before them.
    if status is Status.PENDING:
        some = some.order_by(_t.queue)
    elif status is Status.COMPLETED:
        some = some.where(text(NOT_FAILED)).order_by(_t.finished_at)
    elif status in ENDED:
        some = some.where(text("status IN ('failed', 'cancelled')"))
    return select(func.count()).select_from(some.limit(COUNT_CAP).subquery()).scalar_subquery()


def oldest_due(conn: Connection) -> datetime | None:
    """Since when the longest-waiting due task of a known type waits; None when nothing is due. Queues apart that are
    paused, or run as much as their limit allows.

    Looks at the head of each lane, so that a million waiting tasks cost no more than ten.
    """
    waiting = waiting_queues().subquery("names")
    closed = select(queues.c.name).where(or_(PAUSED, FULL))
    heads = [
        select(_t.run_at)
        .where(
            PENDING,
            _t.queue == waiting.c.name,
            _t.task_type == task_types.c.name,
            _t.priority == priority,
            _t.run_at <= db_now(),
        )
        .order_by(_t.run_at)
        .limit(1)
        .correlate(waiting, task_types)
        .scalar_subquery()
        for priority in PRIORITIES
    ]
    lanes = (
        select(*(head.label(f"p{n}") for n, head in enumerate(heads)))
        .select_from(waiting.join(task_types, true()))
        .where(waiting.c.name.not_in(closed))
    )
    found = [moment for row in conn.execute(lanes) for moment in row if moment is not None]
    return min(found, default=None)


@dataclass(frozen=True)
class Health:
    """Whether all is well: ``verdict`` is ok, no_node or late; ``waiting`` is the longest wait in seconds."""

    verdict: str
    nodes_alive: int
    waiting: float


def health(conn: Connection) -> Health:
    """All is well when a node lives and no due task waited unclaimed for a minute."""
    alive = conn.execute(select(func.count()).select_from(nodes).where(ALIVE)).scalar_one()
    oldest = oldest_due(conn)
    waiting = max(0.0, (now(conn) - oldest).total_seconds()) if oldest else 0.0
    verdict = "no_node" if not alive else "late" if waiting > LATE_AFTER else "ok"
    return Health(verdict, alive, waiting)


def is_idle(conn: Connection, queue_names: list[str] | None, types: list[str]) -> bool:
    """Whether nothing of these types is pending (due or later) or running in these queues (None: in any)."""
    open_status = _t.status.in_([literal_column("'pending'"), literal_column("'running'")])
    open_task = open_status & _t.task_type.in_(types)
    if queue_names is not None:
        open_task &= _t.queue.in_(queue_names)
    return not conn.execute(select(exists().where(open_task))).scalar_one()
