"""What callers send, as models: strict types, no unknown fields. The rules that need no type stand in the queue."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from jobrunner.api.spelled import (
    NAME,
    Attempts,
    Delay,
    NameText,
    Positive,
    Priority,
    Tags,
    TaskData,
    TaskIdText,
    not_both,
)
from jobrunner.queue.request import NAME_MAX, has_controls
from jobrunner.queue.task import Status
from jobrunner.queue.views import TaskFilter
from jobrunner.queue.views.cursors import row_of
from jobrunner.queue.views.tasks import PAGE

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")


def _moment(value: Any) -> Any:
    if value is None or isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time with its offset, such as 2026-01-31T09:30:00+08:00")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no time that a calendar has") from None


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


def _name(value: str) -> str:
    if not 1 <= len(value) <= NAME_MAX or has_controls(value):
        raise ValueError(f"must have 1 to {NAME_MAX} characters and no control characters")
    return value


Name = Annotated[str, AfterValidator(_name), WithJsonSchema(NAME)]


class Strict(BaseModel):
    """A body in which every field is known."""

    model_config = ConfigDict(extra="forbid")


class ExecuteRequest(Strict):
    """One task to run: the guide's fields first, then what is newer. Absent ones take the task type's defaults.

    ``timeout`` and ``delay`` are in seconds; ``priority`` 1 is the most urgent.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=not_both("run_at", "delay"))

    task_id: TaskIdText | None = None
    task_type: NameText
    task_data: TaskData = Field(default_factory=dict)
    priority: Priority | None = None
    timeout: Positive = None  # type: ignore[assignment]  # absent is the type's default, null is refused
    queue: NameText | None = None
    run_at: Moment | None = None
    delay: Delay | None = None
    max_attempts: Attempts | None = None
    expires_at: Moment | None = None
    tags: Tags | None = None
    unique_key: NameText | None = None

    def options(self) -> dict[str, Any]:
        """What was given, as keyword arguments of ``submit``."""
        return self.model_dump(exclude={"task_type", "task_data"}, exclude_unset=True)


BATCH_MOST = 1_000


class BatchRequest(Strict):
    """Many tasks to run. Each is taken or refused by itself."""

    tasks: list[ExecuteRequest] = Field(max_length=BATCH_MOST)


class RerunRequest(Strict):
    """What shall be different in the new task; what is absent stays as it was."""

    task_data: TaskData | None = None
    queue: NameText | None = None
    priority: Priority | None = None
    task_id: TaskIdText | None = None


class CancelRequest(Strict):
    """Why a task is cancelled; kept as its error."""

    reason: str = Field("", max_length=1_000)


class ScheduleRequest(Strict):
    """A schedule: ``cron`` (5 fields) with its ``timezone``, or ``every`` seconds; and the task that it submits."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {"required": ["cron"], "properties": {"cron": {"type": "string"}, "every": {"type": "null"}}},
                {"required": ["every"], "properties": {"every": {"type": "number"}, "cron": {"type": "null"}}},
            ]
        },
    )

    name: Name
    cron: str | None = None
    every: float | None = None
    timezone: str = "UTC"
    task_type: NameText
    task_data: TaskData = Field(default_factory=dict)
    queue: NameText | None = None
    priority: Priority | None = None
    max_attempts: Attempts | None = None
    timeout: Positive | None = None


def _cursor_of(kind: str) -> Any:
    return BeforeValidator(lambda text: row_of(kind, text) if isinstance(text, str) else text)


class TasksQuery(Strict):
    """Which tasks to list, newest first; ``cursor`` is the ``next_cursor`` of the page before.

    ``q`` is how a task_id begins, ``node`` a node's id; ``created_after`` is the first instant, ``created_before`` the
    one after the last.
    """

    status: tuple[Status, ...] = ()
    type: str | None = None
    queue: str | None = None
    tag: str | None = None
    node: str | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    q: str | None = Field(None, max_length=NAME_MAX)
    limit: int = Field(50, ge=1, le=PAGE)
    cursor: Annotated[int, _cursor_of("tasks"), WithJsonSchema({"type": "string"})] | None = None

    def filter(self, queues: Collection[str] | None) -> TaskFilter:
        """What is wished for, among these queues."""
        return TaskFilter(
            self.status,
            self.type,
            self.queue,
            queues,
            self.tag,
            self.node,
            self.created_after,
            self.created_before,
            self.q,
        )


class EventsQuery(BaseModel):
    """Of which queue to tell, where not of all. Other parameters are left alone, as they ever were."""

    queue: str | None = None


class AuditQuery(Strict):
    """Which changes to list, newest first; ``cursor`` is the ``next_cursor`` of the page before."""

    limit: int = Field(50, ge=1, le=PAGE)
    cursor: Annotated[int, _cursor_of("audit"), WithJsonSchema({"type": "string"})] | None = None


class LogsQuery(Strict):
    """Where to go on reading: ``after`` is the ``next_after`` of the page before."""

    after: int = Field(0, ge=0, le=2**63 - 1)
    limit: int = Field(PAGE, ge=1, le=1_000)


WAIT_MOST = 30.0  # seconds that one request may wait


class WaitQuery(BaseModel):
    """How many seconds an answer may wait for the task's end. Other parameters are left alone, as they ever were."""

    wait: float = Field(0.0, ge=0.0, le=WAIT_MOST, allow_inf_nan=False)
