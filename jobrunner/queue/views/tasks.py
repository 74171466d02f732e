"""Tasks as people and clients see them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, literal_column, select, text, union_all

from jobrunner.db import direct
from jobrunner.db.tables import FAILED, NOT_FAILED, attempts, task_logs, tasks
from jobrunner.db.types import Name, among, db_now, rowset
from jobrunner.errors import TaskNotFound
from jobrunner.queue import codec
from jobrunner.queue.task import ENDED, Status

_t = tasks.c
PAGE = 200  # the most rows of one answer

REASON = case(
    (_t.status == Status.RUNNING, case((_t.cancel_requested_at.is_not(None), "cancelling"), else_="running")),
    (_t.status != Status.PENDING, _t.status),
    (_t.run_at <= db_now(), "due"),
    (_t.attempt > 0, "retrying"),
    else_="scheduled",
)
"""The finer truth behind a status, derived and never stored."""


@dataclass(frozen=True)
class TaskView:
    """One task, whole but for payload and result, which are None in lists. Times are aware UTC."""

    id: int
    task_id: str
    task_type: str
    status: Status
    reason: str
    queue: str
    priority: int
    generation: int
    attempt: int
    max_attempts: int
    failures: int
    crashes: int
    losses: int
    releases: int
    snoozes: int
    run_at: datetime
    expires_at: datetime | None
    timeout: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    lease_until: datetime | None
    node_id: str | None
    cancel_requested_at: datetime | None
    progress: float | None
    message: str | None
    error: str | None
    unique_key: str | None
    submitted_by: str | None
    tags: Any
    payload: Any = None
    result: Any = None

    @property
    def execution_time(self) -> float:
        """Seconds from the start of the last attempt to the end; 0.0 while that is not known."""
        if self.started_at is None or self.finished_at is None:
            return 0.0
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


_FIELDS = tuple(TaskView.__dataclass_fields__)
_COLUMNS = [REASON.label("reason") if name == "reason" else _t[name] for name in _FIELDS]
LISTED = _COLUMNS[: _FIELDS.index("payload")]
_WHOLE = select(*_COLUMNS)
_ONE = _WHOLE.where(_t.task_id == bindparam("wanted"))  # built once: building it took as long as asking


def task(conn: Connection, task_id: str) -> TaskView:
    """One task with payload and result; raises TaskNotFound."""
    rows = direct.fetch(conn, _ONE, {"wanted": task_id})  # who waits for an end asks this: 1.0 instead of 1.7 ms
    if not rows:
        raise TaskNotFound(task_id)
    return view_of(rows[0])


def status(conn: Connection, task_id: str) -> Status:
    """Only the status: one look into the unique index. Raises TaskNotFound."""
    found = conn.execute(select(_t.status).where(_t.task_id == task_id)).scalar()
    if found is None:
        raise TaskNotFound(task_id)
    return Status(found)


def queue_of(conn: Connection, task_id: str) -> str:
    """The queue that a task belongs to; raises TaskNotFound."""
    found = conn.execute(select(_t.queue).where(_t.task_id == task_id)).scalar()
    if found is None:
        raise TaskNotFound(task_id)
    return str(found)


def ended_among(conn: Connection, task_ids: Sequence[str]) -> list[str]:
    """Which of these have ended."""
    ended = _t.status.in_([str(status) for status in ENDED])
    return list(conn.execute(select(_t.task_id).where(_among(), ended), _wanted(task_ids)).scalars())


def tasks_among(conn: Connection, task_ids: Sequence[str]) -> list[TaskView]:
    """Those of these that there are, with payload and result, in no order."""
    rows = conn.execute(_WHOLE.where(_among()), _wanted(task_ids))
    return [view_of(row) for row in rows]


def listed_among(conn: Connection, task_ids: Sequence[str]) -> list[TaskView]:
    """The same without payload and result."""
    return [view_of(row) for row in conn.execute(select(*LISTED).where(_among()), _wanted(task_ids))]


@dataclass(frozen=True)
class TaskState:
    """How one task stands at this moment, for who follows it."""

    task_id: str
    queue: str
    status: Status
    reason: str
    attempt: int
    progress: float | None
    message: str


def states_among(conn: Connection, task_ids: Sequence[str]) -> dict[str, TaskState]:
    """The states of those of these that there are, by task_id."""
    columns = (_t.task_id, _t.queue, _t.status, REASON.label("reason"), _t.attempt, _t.progress, _t.message)
    rows = conn.execute(select(*columns).where(_among()), _wanted(task_ids))
    return {row[0]: TaskState(*row[:2], Status(row[2]), *row[3:6], row[6] or "") for row in rows}


def _among() -> Any:
    return among(_t.task_id, select(rowset("wanted", task_id=Name).c.task_id))


def _wanted(task_ids: Sequence[str]) -> dict[str, Any]:
    return {"wanted": [{"task_id": task_id} for task_id in task_ids]}


def running(conn: Connection, limit: int = 50, queues: Collection[str] | None = None) -> list[TaskView]:
    """Running tasks, the longest-running first; ``queues`` are the only ones to look into, and None means all."""
    here = _t.status == literal_column("'running'")  # spelled out, so that the index of running tasks serves it
    if queues is not None:
        here &= _t.queue.in_(sorted(queues))
    found = select(*LISTED).where(here).order_by(_t.started_at).limit(min(limit, PAGE))
    return [view_of(row) for row in conn.execute(found)]


def last_ended(conn: Connection, limit: int = 20) -> list[TaskView]:
    """The tasks that ended last."""
    latest = _t.finished_at.desc()
    heads = [
        select(_t.id).where(text(which)).order_by(latest).limit(min(limit, PAGE)).subquery()
        for which in (NOT_FAILED, FAILED)
    ]
    ended = among(_t.id, union_all(*(select(head.c.id) for head in heads)))
    return [view_of(row) for row in conn.execute(select(*LISTED).where(ended).order_by(latest).limit(min(limit, PAGE)))]


@dataclass(frozen=True)
class AttemptView:
    """One attempt that ended badly (or was released). ``peak_rss`` in bytes."""

    attempt: int
    generation: int
    outcome: str
    node_id: str | None
    started_at: datetime | None
    ended_at: datetime
    error_class: str | None
    error: str | None
    traceback: str | None
    exit_signal: int | None
    exit_code: int | None
    peak_rss: int | None


def task_attempts(conn: Connection, task_id: str) -> list[AttemptView]:
    """The attempts of a task that left a row, oldest first."""
    columns = [attempts.c[name] for name in AttemptView.__dataclass_fields__]
    found = select(*columns).join(tasks, _t.id == attempts.c.task).where(_t.task_id == task_id)
    return [AttemptView(*row) for row in conn.execute(found.order_by(attempts.c.attempt).limit(2_000))]


@dataclass(frozen=True)
class LogView:
    """One kept line; ``id`` is the offset to go on from."""

    id: int
    attempt: int
    at: datetime
    level: str
    message: str
    fields: Any


def task_logs_page(conn: Connection, task_id: str, *, after: int = 0, limit: int = PAGE) -> list[LogView]:
    """Log lines of a task in the order they came, after the offset ``after``."""
    line = task_logs.c
    found = (
        select(line.id, line.attempt, line.at, line.level, line.message, line.fields)
        .join(tasks, _t.id == line.task)
        .where(_t.task_id == task_id, line.id > after)
        .order_by(line.id)
        .limit(min(limit, 1_000))
    )
    return [LogView(*row[:5], _json(row.fields)) for row in conn.execute(found)]


_STATUS, _DOCUMENTS = _FIELDS.index("status"), [_FIELDS.index(name) for name in ("tags", "payload", "result")]


def view_of(row: Sequence[Any]) -> TaskView:
    """A row of the columns of TaskView, of which those of LISTED are the first."""
    told = list(row)
    told[_STATUS] = Status(told[_STATUS])
    for place in _DOCUMENTS:
        if place < len(told):
            told[place] = _json(told[place])
    return TaskView(*told)


def _json(text: str | None) -> Any:
    return None if text is None else codec.load(text)
