"""What people ask of a task: cancel it, run it again; and what time does to one that waited too long."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, null, select, update
from sqlalchemy.exc import IntegrityError

from jobrunner.db.tables import MAY_EXPIRE, tasks
from jobrunner.db.types import among, db_now
from jobrunner.errors import StateConflict, TaskNotFound
from jobrunner.queue.task import MOVES, Status

_t = tasks.c


def cancel(conn: Connection, task_id: str, reason: str = "") -> Status:
    """pending -> cancelled at once; a running task is asked, and ends within its grace. Returns the status now.

    ``reason`` becomes the task's error, whatever its handler says while it ends. Asking again changes nothing.
    Raises TaskNotFound, or StateConflict when the task ended otherwise.
    """
    at_once = (
        update(tasks)
        .where(_t.task_id == task_id, _t.status == Status.PENDING)
        .values(status=Status.CANCELLED, finished_at=db_now(), error=reason or "cancelled")
    )
    if conn.execute(at_once).rowcount:
        return Status.CANCELLED
    asked = (
        update(tasks)
        .where(_t.task_id == task_id, _t.status == Status.RUNNING, _t.cancel_requested_at.is_(None))
        .values(cancel_requested_at=db_now(), error=reason or "cancelled")
    )
    if conn.execute(asked).rowcount:
        return Status.RUNNING
    found = _status(conn, task_id)
    if found in (Status.RUNNING, Status.CANCELLED):
        return found
    if found is Status.PENDING:  # it was given back between our two looks
        return cancel(conn, task_id, reason)
    raise StateConflict(task_id, found=found, wish="cancelled")


def retry(conn: Connection, task_id: str) -> None:
    """failed | cancelled -> pending, by hand: a new generation with fresh budgets; the attempt goes on counting.

    Raises TaskNotFound, or StateConflict for a task that is open or completed.
    """
    statement = (
        update(tasks)
        .where(_t.task_id == task_id, _t.status.in_([str(status) for status in MOVES["retry"][0]]))
        .values(again())
    )
    try:
        with conn.begin_nested():
            moved = conn.execute(statement).rowcount
    except IntegrityError as taken:
        found = f"{_status(conn, task_id)}, and an open task has its unique_key"
        raise StateConflict(task_id, found=found, wish="retried") from taken
    if not moved:
        raise StateConflict(task_id, found=_status(conn, task_id), wish="retried")


def again() -> dict[str, Any]:
    """The columns of a task that begins a new generation."""
    fresh = {name: null() for name in ("expires_at", "finished_at", "cancel_requested_at", "progress", "message")}
    budgets = dict.fromkeys(("failures", "crashes", "losses", "snoozes"), 0)
    return {
        "status": Status.PENDING,
        "generation": _t.generation + 1,
        "run_at": db_now(),
        "error": null(),
        **budgets,
        **fresh,
    }


def expire(conn: Connection, limit: int = 500) -> int:
    """pending -> cancelled: tasks that were not claimed by their ``expires_at``. Returns how many."""
    late = (
        select(_t.id)
        .where(MAY_EXPIRE, _t.expires_at <= db_now())
        .order_by(_t.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("late")
    )
    statement = (
        update(tasks)
        .where(among(_t.id, select(late.c.id)))
        .values(status=Status.CANCELLED, finished_at=db_now(), error="expired before it could start")
        .returning(_t.id)  # sqlite3 counts no rows of a statement that begins with WITH
    )
    return len(conn.execute(statement).all())


def _status(conn: Connection, task_id: str) -> Status:
    found = conn.execute(select(_t.status).where(_t.task_id == task_id)).scalar()
    if found is None:
        raise TaskNotFound(task_id)
    return Status(found)
