"""Failed tasks, those of one kind together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, text

from jobrunner.db.tables import FAILED, attempts, tasks
from jobrunner.errors import GroupNotFound
from jobrunner.queue.fingerprint import fingerprint

_t = tasks.c
NEWEST = 2_000  # failed tasks that are looked at
AMONG = 20_000  # of the newest failed tasks, among which those of named queues are looked for
GROUPS_MOST = 200  # in one answer
IDS_MOST = 200  # of one group
EXAMPLE = 500  # characters


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one kind, among the newest ``NEWEST`` failed tasks. ``example`` is the latest one's error."""

    fingerprint: str
    task_type: str
    error_class: str | None
    example: str
    count: int
    first_at: datetime
    last_at: datetime
    last_task_id: str


@dataclass(frozen=True)
class Failures:
    """The groups, the one that failed last first, and of how many failed tasks."""

    groups: list[FailureGroup]
    looked_at: int
    all: bool


@dataclass(frozen=True)
class OneFailureGroup:
    """One group with its task_ids, the latest first."""

    group: FailureGroup
    task_ids: list[str]


def failures(conn: Connection, queues: Collection[str] | None = None) -> Failures:
    """The groups of failed tasks, among these queues (None: all): then of the ``AMONG`` that failed last."""
    rows = _newest(conn, queues)
    groups = [_group(key, those) for key, those in _grouped(rows).items()]
    everything = len(rows) < NEWEST and (queues is None or not _are_more(conn))
    return Failures(groups[:GROUPS_MOST], len(rows), everything)


def failure_group(conn: Connection, key: str, queues: Collection[str] | None = None) -> OneFailureGroup:
    """One group; raises GroupNotFound."""
    those = _grouped(_newest(conn, queues)).get(key)
    if those is None:
        raise GroupNotFound(key)
    return OneFailureGroup(_group(key, those), [row.task_id for row in those[:IDS_MOST]])


def _newest(conn: Connection, queues: Collection[str] | None) -> list[Row[Any]]:
    """The failed tasks that failed last, latest first, each with the class of its last error."""
    columns = (_t.id, _t.task_id, _t.task_type, func.substr(_t.error, 1, 2_000).label("error"), _t.finished_at)
    found = select(*columns).where(text(FAILED)).order_by(_t.finished_at.desc()).limit(NEWEST)
    if queues is not None:
        those = select(*columns, _t.queue).where(text(FAILED)).order_by(_t.finished_at.desc()).limit(AMONG).subquery()
        mine = those.c.queue.in_(sorted(queues))
        found = select(*(those.c[column.name] for column in columns)).where(mine)
        found = found.order_by(those.c.finished_at.desc()).limit(NEWEST)
    some = found.subquery("some")
    last = (
        select(attempts.c.error_class)
        .where(attempts.c.task == some.c.id)
        .order_by(attempts.c.attempt.desc())
        .limit(1)
        .scalar_subquery()
    )
    return list(conn.execute(select(some, last.label("error_class")).order_by(some.c.finished_at.desc())))


def _are_more(conn: Connection) -> bool:
    """Whether more have failed than those of named queues are looked for among."""
    beyond = select(_t.id).where(text(FAILED)).order_by(_t.finished_at.desc()).offset(AMONG).limit(1)
    return conn.execute(beyond).first() is not None


def _grouped(rows: list[Row[Any]]) -> dict[str, list[Row[Any]]]:
    groups: dict[str, list[Row[Any]]] = {}
    for row in rows:
        groups.setdefault(fingerprint(row.task_type, row.error_class, row.error), []).append(row)
    return groups


def _group(key: str, those: list[Row[Any]]) -> FailureGroup:
    latest = those[0]
    return FailureGroup(
        fingerprint=key,
        task_type=latest.task_type,
        error_class=latest.error_class,
        example=(latest.error or "")[:EXAMPLE],
        count=len(those),
        first_at=those[-1].finished_at,
        last_at=latest.finished_at,
        last_task_id=latest.task_id,
    )
