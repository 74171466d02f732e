"""Lists of tasks: by every useful filter, newest first, page by page, and never by a walk without an end.

Statuses other than ``completed``, and the start of a task_id, are found by indexes of their own. Where anything else is
asked as well (type, queue, tag, node), it is looked for among what these find, if that is FEW at most. Else, and of
completed ones, a page looks at WALK rows at most: where few of them fit it is short, or empty, and still says where to
go on. ``created_after`` and ``created_before`` narrow that down, since row ids rise with time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, SelectBase, func, literal_column, select, union_all
from sqlalchemy.sql.elements import ColumnElement

from jobrunner.db.tables import tasks
from jobrunner.db.types import among, holds
from jobrunner.queue.task import Status
from jobrunner.queue.views.tasks import LISTED, PAGE, TaskView, view_of

_t = tasks.c
WALK = 100_000  # row ids that one page looks through, where no index finds what is asked for
FEW = 10_000  # rows that an index finds, among which all other conditions are looked for
APART = timedelta(minutes=1)  # by which tasks may be created in another order than that of their row ids
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC) + APART, datetime.max.replace(tzinfo=UTC) - APART


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks: those that fit all that is given. ``queues`` are the only ones to look into, and None means all.

    ``created_after`` is the first instant, ``created_before`` the one after the last; both aware.
    """

    statuses: tuple[Status, ...] = ()
    task_type: str | None = None
    queue: str | None = None
    queues: Collection[str] | None = None
    tag: str | None = None
    node: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    prefix: str | None = None


@dataclass(frozen=True)
class TasksPage:
    """Tasks, the newest first, without payload and result; ``following`` is the ``before`` of the next page."""

    tasks: list[TaskView]
    following: int | None


EVERY = TaskFilter()


def tasks_page(
    conn: Connection, wish: TaskFilter = EVERY, *, before: int | None = None, limit: int = 50, walk: int = WALK
) -> TasksPage:
    """The tasks of one page, newest first; ``before`` is the ``following`` of the page before."""
    limit = min(limit, PAGE)
    low, high = _row_ids(conn, wish, before)
    start, fits = low, conditions(wish)
    if not _is_indexed(wish):
        few = _few(conn, wish, min(FEW, walk))
        if few is not None:
            fits.append(among(_t.id, few))
        else:
            high = _newest(conn) + 1 if high is None else high
            start = max(low, high - walk)
    found = select(*LISTED).where(*fits).order_by(_t.id.desc()).limit(limit)
    if high is not None:
        found = found.where(_t.id < high)
    if start:
        found = found.where(_t.id >= start)
    seen = [view_of(row) for row in conn.execute(found)]
    if len(seen) == limit:
        return TasksPage(seen, seen[-1].id)
    return TasksPage(seen, _below(conn, low, start) if start > low else None)


def conditions(wish: TaskFilter) -> list[ColumnElement[bool]]:
    """What a task has to fit, as conditions of a query."""
    found: list[ColumnElement[bool]] = []
    if wish.statuses:
        # Spelled out: a plan for all values does not see that a partial index serves these.
        found.append(_t.status.in_([literal_column(f"'{status}'") for status in sorted(set(wish.statuses))]))
    for column, value in ((_t.task_type, wish.task_type), (_t.queue, wish.queue), (_t.node_id, wish.node)):
        if value is not None:
            found.append(column == value)
    if wish.queues is not None:
        found.append(_t.queue.in_(sorted(wish.queues)))
    if wish.tag is not None:
        found.append(holds(_t.tags, wish.tag))
    if wish.created_after is not None:
        found.append(_t.created_at >= wish.created_after)
    if wish.created_before is not None:
        found.append(_t.created_at < wish.created_before)
    if wish.prefix:
        found.append(_t.task_id >= wish.prefix)
        beyond = _beyond(wish.prefix)
        if beyond:
            found.append(_t.task_id < beyond)
    return found


def _is_indexed(wish: TaskFilter) -> bool:
    """Whether one index finds just these in every case, or every row fits."""
    asked = replace(wish, created_after=None, created_before=None)
    by_status = Status.COMPLETED not in asked.statuses and asked == TaskFilter(asked.statuses)
    return by_status or asked == TaskFilter(prefix=asked.prefix)


def _few(conn: Connection, wish: TaskFilter, few: int) -> SelectBase | None:
    """The row ids of what an index finds of these and others; None where that is none, or more than a few.

    Told to the query, since a plan guesses how far from the end of the table the tasks stand that are asked for.
    """
    ways = []
    if wish.statuses and Status.COMPLETED not in wish.statuses:
        ways.append([_of_status(wish, status) for status in sorted(set(wish.statuses))])
    if wish.prefix:
        ways.append([select(_t.id).where(*conditions(TaskFilter(prefix=wish.prefix))).order_by(_t.task_id)])
    for way in ways:
        heads = [found.limit(few + 1).subquery() for found in way]
        # Not their ids: the index of task_ids knows none, and would be left for each of them.
        count = sum(conn.execute(_count(found.limit(few + 1))).scalar_one() for found in way)
        if count <= few:
            return union_all(*(select(head.c.id) for head in heads))
    return None


def _count(found: Select[Any]) -> Select[Any]:
    return select(func.count()).select_from(found.with_only_columns(literal_column("1")).subquery())


def _of_status(wish: TaskFilter, status: Status) -> Select[Any]:
    """Those of one status in the order of its index, so that a few of them are found along it."""
    found = select(_t.id).where(*conditions(TaskFilter((status,))))
    if status is Status.RUNNING:
        return found.order_by(_t.lease_until)
    if status is not Status.PENDING:
        return found.order_by(_t.id)
    if wish.queue is None:
        return found.order_by(_t.queue, _t.task_type, _t.priority, _t.run_at, _t.id)
    return found.where(_t.queue == wish.queue).order_by(_t.task_type, _t.priority, _t.run_at, _t.id)


def _row_ids(conn: Connection, wish: TaskFilter, before: int | None) -> tuple[int, int | None]:
    """The first row id that may fit, and the one after the last; None where all newer ones may."""
    low, high = 0, before
    if wish.created_after is not None:
        low = _first_at(conn, max(wish.created_after, _FIRST) - APART)
    if wish.created_before is not None:
        end = _first_at(conn, min(wish.created_before, _LAST) + APART)
        high = end if high is None else min(end, high)
    return low, high


def _first_at(conn: Connection, moment: datetime) -> int:
    """A row id at which tasks of this moment begin, by halving: about twenty looks into the key of 1,000,000 rows."""
    low = conn.execute(select(func.min(_t.id))).scalar() or 0
    high = _newest(conn) + 1
    while low < high:
        middle = (low + high) // 2
        row = conn.execute(select(_t.id, _t.created_at).where(_t.id >= middle).order_by(_t.id).limit(1)).first()
        if row is None or row.created_at >= moment:
            high = middle
        else:
            low = row.id + 1
    return low


def _newest(conn: Connection) -> int:
    return conn.execute(select(func.max(_t.id))).scalar() or 0


def _below(conn: Connection, low: int, start: int) -> int | None:
    """Where the next walk begins: behind the newest row before ``start``; gaps of pruned tasks cost nothing."""
    found = conn.execute(select(func.max(_t.id)).where(_t.id >= low, _t.id < start)).scalar()
    return None if found is None else found + 1


def _beyond(prefix: str) -> str | None:
    """The first text, byte by byte, behind all that start with ``prefix``; None where there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)  # no text holds half a surrogate pair
