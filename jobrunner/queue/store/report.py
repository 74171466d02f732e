"""What a running attempt tells: its progress and its log lines. Fenced like every write to a running task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Float, Integer, Text, cast, func, insert, select, update

from jobrunner.db.tables import task_logs, tasks
from jobrunner.db.types import Id, JsonText, UTCDateTime, rowtable
from jobrunner.queue.codec import clean_fields
from jobrunner.queue.store.lease import held_rows
from jobrunner.queue.task import Lease, LogLine

_t = tasks.c


def progress(conn: Connection, told: Mapping[Lease, tuple[float | None, str]]) -> None:
    """Keep the latest progress (0 to 1, or None) and message of running attempts."""
    if told:
        rows = [
            {"id": lease.id, "token": lease.token, "fraction": fraction, "message": message}
            for lease, (fraction, message) in told.items()
        ]
        conn.execute(_progress(), {"told": rows})


@cache
def _progress() -> Any:
    rows = rowtable("told", id=Id, token=Text(), fraction=Float(53), message=Text())
    told = rows.c
    return (
        update(tasks)
        .where(*held_rows(rows))
        .values(progress=func.coalesce(told.fraction, _t.progress), message=func.coalesce(told.message, _t.message))
    )


def logs(conn: Connection, lines: Sequence[tuple[Lease, LogLine]]) -> None:
    """Keep log lines with their attempt; those of an attempt that lost its task are dropped."""
    if lines:
        rows = [
            {
                "position": position,
                "id": lease.id,
                "token": lease.token,
                "at": line.at,
                "level": line.level,
                "message": line.message,
                "fields": clean_fields(line.fields) if line.fields else None,
            }
            for position, (lease, line) in enumerate(lines)
        ]
        conn.execute(_logs(), {"lines": rows})


@cache
def _logs() -> Any:
    rows = rowtable(
        "lines",
        position=Integer(),
        id=Id,
        token=Text(),
        at=UTCDateTime(),
        level=Text(),
        message=Text(),
        fields=Text(),
    )
    line = rows.c
    found = (
        select(_t.id, _t.attempt, line.at, line.level, line.message, cast(line.fields, JsonText()))
        .where(*held_rows(rows))
        .order_by(line.position)  # no join keeps an order by itself
    )
    return insert(task_logs).from_select(["task", "attempt", "at", "level", "message", "fields"], found)
