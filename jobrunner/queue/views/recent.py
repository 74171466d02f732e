"""How long the tasks that ended last had waited and run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select, text, union_all

from jobrunner.db.tables import FAILED, NOT_FAILED, tasks
from jobrunner.db.types import db_now

_t = tasks.c
WITHIN = 300.0  # seconds
MOST = 1_000  # of each: those that failed, and all others


@dataclass(frozen=True)
class Times:
    """Seconds, each list in rising order: from when a task was due to its last start, and from there to its end."""

    waited: list[float]
    ran: list[float]


def recent_times(conn: Connection) -> Times:
    """Of the tasks that ended within five minutes, at most 2,000."""
    rows = conn.execute(_ended()).all()
    waited = sorted(max(0.0, (row.started_at - row.due_at).total_seconds()) for row in rows if not row.attempt > 1)
    ran = sorted(max(0.0, (row.finished_at - row.started_at).total_seconds()) for row in rows)
    return Times(waited, ran)


@cache
def _ended() -> Select[Any]:
    heads = [
        select(_t.started_at, _t.finished_at, _t.attempt, _t.run_at.label("due_at"))
        .where(text(which), _t.finished_at > db_now(-WITHIN), _t.started_at.is_not(None))
        .order_by(_t.finished_at.desc())
        .limit(MOST)
        .subquery()
        for which in (NOT_FAILED, FAILED)
    ]
    return select(union_all(*(select(head) for head in heads)).subquery())


def quantile(rising: list[float], share: float) -> float:
    """The least value that is not under ``share`` of them (nearest rank); 0.0 of none."""
    rank = math.ceil(share * len(rising) - 1e-9)  # 0.07 * 100 is a little more than 7
    return rising[max(rank, 1) - 1] if rising else 0.0
