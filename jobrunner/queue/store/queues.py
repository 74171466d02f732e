"""The rows of queues. One without a row is open and without a limit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, null, update
from sqlalchemy.dialects.postgresql import insert

from jobrunner.db.tables import queues
from jobrunner.db.types import db_now

_q = queues.c


def pause_queue(conn: Connection, name: str, *, by: str, reason: str = "") -> None:
    """Nothing of this queue is claimed any more; what runs goes on. Paused already: only by whom and why is new."""
    told = {"paused_by": by, "pause_reason": reason or None}
    fresh = insert(queues).values(name=name, paused_at=db_now(), **told)
    since = func.coalesce(_q.paused_at, fresh.excluded.paused_at)
    conn.execute(fresh.on_conflict_do_update(index_elements=["name"], set_={**told, "paused_at": since}))


def resume_queue(conn: Connection, name: str) -> None:
    """Claim from it again."""
    conn.execute(update(queues).where(_q.name == name).values(paused_at=null(), paused_by=null(), pause_reason=null()))


def limit_queue(conn: Connection, name: str, **limits: int | None) -> None:
    """Set ``max_running`` or ``max_pending``: tasks at a time; None lifts the limit. What is not given stays."""
    told: dict[str, Any] = {column: null() if limit is None else limit for column, limit in limits.items()}
    if told:
        fresh = insert(queues).values(name=name, **told)
        conn.execute(fresh.on_conflict_do_update(index_elements=["name"], set_=told))
