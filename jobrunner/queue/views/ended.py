"""What has ended within the last hour, and how long it ran: by type and by queue."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text

from jobrunner.db.tables import FAILED, NOT_FAILED, tasks
from jobrunner.db.types import db_now
from jobrunner.queue.task import Status
from jobrunner.queue.views.recent import quantile

_t = tasks.c
WITHIN = 3_600.0  # seconds
ENDED_MOST = 10_000  # tasks that are looked at, of those that failed and of all others: the latest


@dataclass(frozen=True)
class EndedView:
    """What ended of one type or in one queue. ``mean_seconds`` and ``p95_seconds`` are of completed ones: how long
    their last attempt ran; 0.0 where there is none.
    """

    name: str
    completed: int
    failed: int
    cancelled: int
    mean_seconds: float
    p95_seconds: float


@dataclass(frozen=True)
class StatsView:
    """The last ``WITHIN`` seconds. ``capped``: more ended than are counted, so that it is all since ``since``."""

    since: datetime
    capped: bool
    types: list[EndedView]
    queues: list[EndedView]


def stats(conn: Connection) -> StatsView:
    """What has ended."""
    columns = (_t.task_type, _t.queue, _t.status, _t.started_at, _t.finished_at)
    since = conn.execute(select(db_now(-WITHIN))).scalar_one()
    rows: list[Any] = []
    capped = []
    for which in (NOT_FAILED, FAILED):
        found = select(*columns).where(text(which), _t.finished_at > db_now(-WITHIN))
        half = conn.execute(found.order_by(_t.finished_at.desc()).limit(ENDED_MOST + 1)).all()
        rows += half[:ENDED_MOST]
        if len(half) > ENDED_MOST:
            capped.append(half[ENDED_MOST - 1].finished_at)
    rows = [row for row in rows if not capped or row.finished_at >= max(capped)]
    return StatsView(
        since=max([since, *capped]),
        capped=bool(capped),
        types=_ended(rows, "task_type"),
        queues=_ended(rows, "queue"),
    )


def _ended(rows: list[Any], by: str) -> list[EndedView]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, by)].append(row)
    return [_view(name, those) for name, those in sorted(groups.items())]


def _view(name: str, rows: list[Any]) -> EndedView:
    def count(status: Status) -> int:
        return sum(row.status == status for row in rows)

    ran = sorted(
        max(0.0, (row.finished_at - row.started_at).total_seconds())
        for row in rows
        if row.status == Status.COMPLETED and row.started_at is not None
    )
    return EndedView(
        name=name,
        completed=count(Status.COMPLETED),
        failed=count(Status.FAILED),
        cancelled=count(Status.CANCELLED),
        mean_seconds=sum(ran) / len(ran) if ran else 0.0,
        p95_seconds=quantile(ran, 0.95),
    )
