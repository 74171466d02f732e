"""Lists of tasks: by every useful filter, newest first, page by page, and never by a walk without an end.

Statuses other than ``completed``, and the start of a task_id, are found by indexes of their own. Of what has none
(type, queue, tag, node, completed ones) a page looks at WALK rows at most: where few of them fit it is short, or empty,
and still says where to go on. ``created_after`` and ``created_before`` narrow that down, since row ids rise with time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from jobrunner.db.tables import tasks
from jobrunner.db.types import holds
from jobrunner.queue.task import Status
from jobrunner.queue.views.tasks import LISTED, PAGE, TaskView, view_of

_t = tasks.c
WALK = 100_000  # row ids that one page looks through, where no index finds what is asked for
APART = timedelta(minutes=1)  # by which tasks may be created in another order than that of their row ids


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
    start = low
    if high is not None and _needs_a_walk(wish):
        start = max(low, high - walk)
    found = select(*LISTED).where(*conditions(wish)).order_by(_t.id.desc()).limit(limit)
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


def _needs_a_walk(wish: TaskFilter) -> bool:
    """Whether no index finds these, and not every row fits."""
    if wish.prefix or (wish.statuses and Status.COMPLETED not in wish.statuses):
        return False
    return wish != TaskFilter(created_after=wish.created_after, created_before=wish.created_before)


def _row_ids(conn: Connection, wish: TaskFilter, before: int | None) -> tuple[int, int | None]:
    """The first row id that may fit, and the one after the last; None where all newer ones may and nobody needs it."""
    low, high = 0, before
    if wish.created_after is not None:
        low = _first_at(conn, wish.created_after - APART)
    if wish.created_before is not None:
        end = _first_at(conn, wish.created_before + APART)
        high = end if high is None else min(end, high)
    if high is None and _needs_a_walk(wish):
        high = _newest(conn) + 1
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
