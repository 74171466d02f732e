"""Whether any of the background duties has something to do: one statement of index probes, cheap for every second."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, exists, func, literal_column, select

from jobrunner.db.tables import MAY_EXPIRE, RUNNING, operations, schedules, tasks
from jobrunner.db.types import UTCDateTime, db_now

_t = tasks.c
_s = schedules.c


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now: ``stale`` leases, ``expired`` tasks, ``operations`` to carry on with.

    ``firing_in`` is how many seconds from now the next schedule fires: 0 or less where one is due, None where there is
    none. ``now`` is the database's clock.
    """

    firing_in: float | None
    stale: bool
    expired: bool
    now: datetime = field(compare=False)
    operations: bool = False


def due(conn: Connection, since: datetime | None = None) -> Due:
    """What the duties have to do at this moment; with ``since`` only of what has become due after it."""
    row = conn.execute(_look(since is not None), {} if since is None else {"since": since}).one()
    firing_in = None if row.next_at is None else (row.next_at - row.now).total_seconds()
    return Due(firing_in, bool(row.stale), bool(row.expired), row.now, bool(row.operations))


@cache
def _look(short: bool) -> Select[Any]:
    stale = select(_t.id).where(RUNNING, _t.lease_until < db_now())
    expired = select(_t.id).where(MAY_EXPIRE, _t.expires_at <= db_now())
    if short:
        since = bindparam("since", type_=UTCDateTime())
        stale, expired = stale.where(_t.lease_until > since), expired.where(_t.expires_at > since)
    firing = select(func.min(_s.next_at)).where(~_s.paused, _s.next_at.is_not(None)).scalar_subquery()
    begun = select(operations.c.id).where(operations.c.state == literal_column("'running'"))
    return select(
        db_now().label("now"),
        firing.label("next_at"),
        exists(stale).label("stale"),
        exists(expired).label("expired"),
        exists(begun).label("operations"),
    )
