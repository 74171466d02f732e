"""How much room there is in queues that take a limited number of waiting tasks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, exists, func, literal_column, or_, select

from jobrunner.db.tables import PENDING, queues, tasks
from jobrunner.queue.task import NewTask

_t = tasks.c
QUEUES_MOST = 10_000


def max_pending(conn: Connection) -> dict[str, int]:
    """How many tasks may wait in each queue that has such a limit."""
    limit = queues.c.max_pending
    rows = conn.execute(select(queues.c.name, limit).where(limit.is_not(None)).limit(QUEUES_MOST))
    return {row.name: row.max_pending for row in rows}


def pending_in(conn: Connection, queue: str, most: int) -> int:
    """How many tasks wait in a queue, due or later, counted up to ``most`` in the index of what waits."""
    some: Select[Any] = select(literal_column("1")).select_from(tasks).where(PENDING, _t.queue == queue)
    # In the order of the index: see the counts of the overview.
    head = some.order_by(_t.queue, _t.task_type, _t.priority).limit(most).subquery()
    found: int = conn.execute(select(func.count()).select_from(head)).scalar_one()
    return found


def meets(conn: Connection, new: NewTask) -> bool:
    """Whether this request would only meet a task that is there: by its task_id, or an open one by its unique_key."""
    same = _t.task_id == new.task_id
    if new.unique_key is not None:
        is_open = _t.status.in_([literal_column("'pending'"), literal_column("'running'")])
        same = or_(same, (_t.unique_key == new.unique_key) & _t.unique_key.is_not(None) & is_open)
    return bool(conn.execute(select(exists().where(same))).scalar_one())
