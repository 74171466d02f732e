"""The rows of schedules, and their firings: each due instant at most once, whoever asks and however often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, false, null, select, true, update
from sqlalchemy.dialects.postgresql import insert

from jobrunner.db.tables import firings, schedules
from jobrunner.db.types import db_now

_s = schedules.c


def save_schedule(conn: Connection, row: Mapping[str, Any]) -> None:
    """Add a schedule or replace what it says; whether it is paused stays as it was."""
    told = {name: value for name, value in row.items() if name != "name"}
    conn.execute(
        insert(schedules)
        .values(**row, created_at=db_now())
        .on_conflict_do_update(index_elements=["name"], set_={**told, "error": None})
    )


def hold_schedule(conn: Connection, name: str) -> None:
    """Keep others from changing a schedule, where there is one, until the transaction ends."""
    conn.execute(select(_s.name).where(_s.name == name).with_for_update())


def remove_schedule(conn: Connection, name: str) -> bool:
    """Delete a schedule; its firings stay, so that no instant fires twice. False when there was none."""
    return conn.execute(delete(schedules).where(_s.name == name)).rowcount == 1


def set_paused(conn: Connection, name: str, paused: bool, next_at: datetime | None) -> bool:
    """Pause or resume; ``next_at`` is the next instant after a resume. False when there is no such schedule."""
    values = {"paused": true() if paused else false(), "next_at": next_at}
    return conn.execute(update(schedules).where(_s.name == name).values(**values)).rowcount == 1


def due_schedules(conn: Connection, limit: int = 100) -> Sequence[Row[Any]]:
    """Schedules whose next instant has come, the longest overdue first."""
    due = select(schedules).where(~_s.paused, _s.next_at <= db_now()).order_by(_s.next_at, _s.name)
    return conn.execute(due.limit(limit)).all()


def fire(
    conn: Connection, name: str, instant: datetime, task_id: str, *, skipped: int = 0, manual: bool = False
) -> bool:
    """Claim one instant of a schedule. True for exactly one caller, whatever dies or runs twice: it enqueues."""
    row = {
        "schedule": name,
        "fire_at": instant,
        "task_id": task_id,
        "fired_at": db_now(),
        "skipped": skipped,
        "manual": manual,
    }
    # RETURNING, since psycopg's count of inserted rows does not come through: -1 looked like "somebody else was first".
    taken = insert(firings).values(**row).on_conflict_do_nothing().returning(firings.c.task_id)
    return conn.execute(taken).first() is not None


def rename_firing(conn: Connection, name: str, instant: datetime, task_id: str) -> None:
    """Say which task an instant has."""
    which = (firings.c.schedule == name, firings.c.fire_at == instant)
    conn.execute(update(firings).where(*which).values(task_id=task_id))


def advance(
    conn: Connection, name: str, *, seen: datetime, fired: datetime | None, next_at: datetime | None
) -> Row[Any] | None:
    """Move a schedule on to its next instant, and hold its row until the transaction ends.

    Only from the instant that the caller saw, and not while it is paused: for exactly one caller it is not None, but
    what is to be submitted as it is now, which may have been edited since the caller looked.
    """
    step = (
        update(schedules)
        .where(_s.name == name, _s.next_at == seen, ~_s.paused)
        .values(next_at=next_at, fired_at=fired, error=null())
        .returning(_s.task_type, _s.payload, _s.queue, _s.priority, _s.max_attempts, _s.timeout)
    )
    return conn.execute(step).one_or_none()


def blame(conn: Connection, name: str, error: str) -> None:
    """Say what is wrong with a schedule."""
    conn.execute(update(schedules).where(_s.name == name).values(error=error))
