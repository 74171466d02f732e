"""What clients tell, typed: tasks, their states, log lines and events, read from REST's JSON objects. Pure.

Fields that a newer server adds are left in ``raw``; ones that an older server lacks get their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from jobrunner.queue.task import ENDED, Status


class Options(TypedDict, total=False):
    """What else can be said of a submission; what is absent or None takes the task type's default.

    ``delay`` and ``timeout`` are in seconds, ``run_at`` and ``expires_at`` aware, ``priority`` 1 comes first.
    """

    task_id: str | None
    queue: str | None
    priority: int | None
    run_at: datetime | None
    delay: float | None
    timeout: float | None
    max_attempts: int | None
    expires_at: datetime | None
    unique_key: str | None
    tags: list[str] | None
    traceparent: str | None


class MapOptions(Options, total=False):
    """What can be said of a ``map``: how items become data, for how long to wait, and the options of each task."""

    argument: str | None
    chunk: int | None
    data: Mapping[str, Any] | None
    within: float | None


@dataclass(frozen=True)
class Request:
    """One submission of many."""

    task_type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    options: Options = field(default_factory=lambda: Options())


@dataclass(frozen=True)
class TaskState:
    """How a task stands. ``reason`` is the finer truth behind ``status``; ``progress`` is a fraction."""

    task_id: str
    status: Status
    reason: str
    attempt: int
    progress: float | None
    message: str

    @property
    def ended(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.status in ENDED


@dataclass(frozen=True)
class Task(TaskState):
    """One task, whole. Times are aware, ``execution_time`` in seconds; ``result`` is an object, whatever it was."""

    task_type: str
    queue: str
    priority: int
    max_attempts: int
    task_data: Any
    result: dict[str, Any] | None
    error: str | None
    tags: tuple[str, ...]
    run_at: datetime | None
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    execution_time: float
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class LogLine:
    """One kept line; ``id`` is an offset to go on from."""

    id: int
    attempt: int
    at: datetime
    level: str
    message: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """Something of a stream: ``kind`` is snapshot, changed, reset, ...; ``tasks`` are present statuses by task_id.

    States in between may be missing. After ``reset`` the next one is a fresh snapshot.
    """

    kind: str
    tasks: Mapping[str, str]
    data: Mapping[str, Any]
    id: str


def state(told: Mapping[str, Any]) -> TaskState:
    """A task's state from an object that tells at least task_id and status."""
    return TaskState(**_state(told))


def task(told: Mapping[str, Any]) -> Task:
    """One task from the object of REST."""
    return Task(
        **_state(told),
        task_type=told["task_type"],
        queue=told["queue"],
        priority=told["priority"],
        max_attempts=told["max_attempts"],
        task_data=told.get("task_data"),
        result=told.get("result"),
        error=told.get("error"),
        tags=tuple(told.get("tags") or ()),
        run_at=_moment(told.get("run_at")),
        created_at=_moment(told.get("created_at")),
        started_at=_moment(told.get("started_at")),
        completed_at=_moment(told.get("completed_at")),
        execution_time=told.get("execution_time") or 0.0,
        raw=told,
    )


def log_line(told: Mapping[str, Any]) -> LogLine:
    """One line from the object of REST."""
    at = datetime.fromisoformat(told["at"])
    return LogLine(told["id"], told["attempt"], at, told["level"], told["message"], told.get("fields") or {})


def event(kind: str, data: Mapping[str, Any], event_id: str) -> Event:
    """One event of the stream of all that changes."""
    tasks = data.get("tasks")
    return Event(kind, tasks if isinstance(tasks, dict) else {}, data, event_id)


def _state(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task_id": told["task_id"],
        "status": Status(told["status"]),
        "reason": told.get("reason") or told["status"],
        "attempt": told.get("attempt") or 0,
        "progress": told.get("progress"),
        "message": told.get("message") or "",
    }


def _moment(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)
