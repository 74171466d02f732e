"""Whether any of the background duties has something to do: one statement of index probes, cheap for every second."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, literal_column, select

from jobrunner.db.tables import PENDING, schedules, tasks
from jobrunner.db.types import db_now

_t = tasks.c
_s = schedules.c


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now: ``stale`` leases, ``expired`` tasks; ``firing_in`` is how many seconds from now the next
    schedule fires: 0 or less where one is due, None where there is none.
    """

    firing_in: float | None
    stale: bool
    expired: bool


# Statuses are spelled out: a parameter hides from the planner that a partial index serves.
_LOOK = select(
    db_now().label("now"),
    select(func.min(_s.next_at)).where(~_s.paused, _s.next_at.is_not(None)).scalar_subquery().label("next_at"),
    exists(select(_t.id).where(_t.status == literal_column("'running'"), _t.lease_until < db_now())).label("stale"),
    exists(select(_t.id).where(PENDING, _t.expires_at <= db_now())).label("expired"),
)


def due(conn: Connection) -> Due:
    """What the duties have to do at this moment."""
    row = conn.execute(_LOOK).one()
    firing_in = None if row.next_at is None else (row.next_at - row.now).total_seconds()
    return Due(firing_in, bool(row.stale), bool(row.expired))
