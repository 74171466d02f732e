"""Queues as people see them: whether each is paused, its limits, and how much is in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, func, literal, literal_column, select, union

from jobrunner.db.due import waiting_queues
from jobrunner.db.tables import PENDING, RUNNING, queues, task_types, tasks
from jobrunner.db.types import Name
from jobrunner.errors import QueueNotFound
from jobrunner.queue.task import DEFAULT_QUEUE
from jobrunner.queue.views.overview import COUNT_CAP

_t = tasks.c
_q = queues.c
QUEUES_MOST = 1_000  # in one answer


@dataclass(frozen=True)
class QueueView:
    """One queue. ``pending`` and ``running`` are counted up to ``COUNT_CAP``, the running ones of all queues together.

    ``max_running`` and ``max_pending`` are None where there is no limit.
    """

    name: str
    paused: bool
    paused_at: datetime | None
    paused_by: str | None
    pause_reason: str | None
    max_running: int | None
    max_pending: int | None
    pending: int
    running: int


def all_queues(conn: Connection, queues: Collection[str] | None = None) -> list[QueueView]:
    """Every queue in which anything waits or runs, that a type goes to, or that somebody paused or limited, by name.

    ``queues`` are the only ones to tell of, and None means all.
    """
    found = _found()
    if queues is not None:
        found = found.where(found.selected_columns.name.in_(sorted(queues)))
    return [_view(row) for row in conn.execute(found.limit(QUEUES_MOST))]


def one_queue(conn: Connection, name: str) -> QueueView:
    """One of these; raises QueueNotFound."""
    found = _found()
    row = conn.execute(found.where(found.selected_columns.name == name)).one_or_none()
    if row is None:
        raise QueueNotFound(name)
    return _view(row)


@cache
def _found() -> Select[Any]:
    some = select(_t.queue).where(RUNNING).limit(COUNT_CAP).subquery("some")
    running = select(some.c.queue, func.count().label("count")).group_by(some.c.queue).subquery("running")
    names = union(
        select(_q.name),
        select(waiting_queues().subquery("waiting").c.name),
        select(running.c.queue),
        select(task_types.c.queue).where(task_types.c.queue.is_not(None)),
        select(literal(DEFAULT_QUEUE, Name)),
    ).subquery("names")
    # In the order of the index, so that it is the one to be walked over, however much there is.
    waiting: Select[Any] = (
        select(literal_column("1"))
        .select_from(tasks)
        .where(PENDING, _t.queue == names.c.name)
        .order_by(_t.task_type, _t.priority, _t.run_at, _t.id)
        .limit(COUNT_CAP)
        .correlate(names)
    )
    told = [_q[name] for name in QueueView.__dataclass_fields__ if name in _q and name != "name"]
    return (
        select(
            names.c.name,
            *told,
            select(func.count()).select_from(waiting.subquery("counted")).scalar_subquery().label("pending"),
            func.coalesce(running.c.count, 0).label("running"),
        )
        .select_from(
            names.outerjoin(queues, _q.name == names.c.name).outerjoin(running, running.c.queue == names.c.name)
        )
        .order_by(names.c.name)
    )


def _view(row: Row[Any]) -> QueueView:
    return QueueView(**{**row._mapping, "paused": row.paused_at is not None})
