"""What the rows say of a run: whether the work was done, and how long it took by the database's clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from jobrunner.bench.errors import BenchFailed
from jobrunner.db.engine import Database
from jobrunner.db.tables import attempts, nodes, tasks
from jobrunner.queue.task import Status

_t = tasks.c


def all_ended(database: Database, task_type: str) -> bool:
    """Whether every task of this type has ended."""
    open_ = select(_t.id).where(_t.task_type == task_type, _t.status.in_([Status.PENDING, Status.RUNNING])).limit(1)
    with database.read() as conn:
        return conn.execute(open_).first() is None


def prove(database: Database, task_type: str, count: int) -> float:
    """Seconds from the first start to the last end; raises BenchFailed unless all ran exactly once and completed."""
    good = (_t.status == Status.COMPLETED) & (_t.attempt == 1)
    ended = select(func.count(), func.count().filter(good), func.min(_t.started_at), func.max(_t.finished_at)).where(
        _t.task_type == task_type
    )
    with database.read() as conn:
        total, done, first, last = conn.execute(ended).one()
        bad = conn.execute(select(func.count()).select_from(attempts)).scalar_one()
    if (total, done, bad) != (count, count, 0):
        raise BenchFailed(f"{count} tasks {task_type} were to run once: {done} of {total} did, {bad} attempts failed")
    return float((last - first).total_seconds())


def results(database: Database, task_type: str) -> dict[str, Any]:
    """The results of completed tasks by task_id."""
    ended = select(_t.task_id, _t.result).where(_t.task_type == task_type, _t.status == Status.COMPLETED)
    with database.read() as conn:
        return {task_id: json.loads(result) for task_id, result in conn.execute(ended)}


def moments(database: Database, task_type: str, *columns: str) -> Sequence[Any]:
    """These columns of the tasks of a type, oldest first."""
    with database.read() as conn:
        return conn.execute(
            select(*(_t[name] for name in columns)).where(_t.task_type == task_type).order_by(_t.id)
        ).all()


def prove_added(database: Database, task_type: str, count: int) -> None:
    """Raise BenchFailed unless there are so many tasks of this type."""
    with database.read() as conn:
        found = conn.execute(select(func.count()).where(_t.task_type == task_type)).scalar_one()
    if found != count:
        raise BenchFailed(f"{count} tasks {task_type} were to be added: there are {found}")


def count_open(database: Database, task_type: str) -> int:
    """How many tasks of this type have not ended."""
    open_ = _t.status.in_([Status.PENDING, Status.RUNNING])
    with database.read() as conn:
        return int(conn.execute(select(func.count()).where(_t.task_type == task_type, open_)).scalar_one())


def first_moments(database: Database) -> tuple[datetime, datetime]:
    """When the newest node registered, and when its first task ended."""
    newest = select(nodes.c.id, nodes.c.started_at).order_by(nodes.c.started_at.desc()).limit(1)
    with database.read() as conn:
        node = conn.execute(newest).one()
        ended = conn.execute(select(func.min(_t.finished_at)).where(_t.node_id == node.id)).scalar_one()
    if ended is None:
        raise BenchFailed("a worker was to end its first task soon after its start: it ended none")
    return node.started_at, ended
