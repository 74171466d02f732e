"""Schedules and their firings, as people see them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from jobrunner.db.tables import firings, schedules

_s = schedules.c


@dataclass(frozen=True)
class ScheduleView:
    """One schedule; ``cron`` with its ``timezone``, or ``every`` seconds counted from ``anchor``. Times aware UTC."""

    name: str
    cron: str | None
    every: float | None
    timezone: str
    anchor: datetime
    task_type: str
    payload: Any
    queue: str
    priority: int
    max_attempts: int | None
    timeout: float | None
    paused: bool
    declared: bool
    next_at: datetime | None
    fired_at: datetime | None
    error: str | None


_COLUMNS = [_s[name] for name in ScheduleView.__dataclass_fields__]


def all_schedules(conn: Connection) -> list[ScheduleView]:
    """Every schedule, the next to fire first."""
    rows = conn.execute(select(*_COLUMNS).order_by(_s.next_at.is_(None), _s.paused, _s.next_at, _s.name))
    return [_view(dict(row._mapping)) for row in rows]


def schedule(conn: Connection, name: str) -> ScheduleView | None:
    """One schedule by name, or None."""
    row = conn.execute(select(*_COLUMNS).where(_s.name == name)).first()
    return None if row is None else _view(dict(row._mapping))


def last_firings(conn: Connection, name: str, limit: int = 30) -> list[dict[str, Any]]:
    """The latest firings of a schedule, newest first."""
    rows = conn.execute(
        select(firings).where(firings.c.schedule == name).order_by(firings.c.fire_at.desc()).limit(limit)
    )
    return [dict(row._mapping) for row in rows]


def _view(told: dict[str, Any]) -> ScheduleView:
    return ScheduleView(**{**told, "payload": json.loads(told["payload"])})
