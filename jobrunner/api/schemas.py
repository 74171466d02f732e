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
    Interval,
    NameText,
    PartText,
    Positive,
    Priority,
    Tags,
    TaskData,
    not_both,
)
from jobrunner.queue.task import Status
from jobrunner.queue.views import TaskFilter
from jobrunner.queue.views.cursors import row_of
from jobrunner.queue.views.tasks import PAGE
from jobrunner.text import NAME_MAX, has_controls

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
    """A body in which every field is known. What stands below a field describes it in the OpenAPI document."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ExecuteRequest(Strict):
    """One task to run: the guide's fields first, then what is newer. Absent ones take the task type's defaults."""

    model_config = ConfigDict(json_schema_extra=not_both("run_at", "delay"))

    task_id: PartText | None = None
    """Its id, under which the same request can be sent again without a second task; one is made where it is absent."""
    task_type: NameText
    """What runs: the name of a handler."""
    task_data: TaskData = Field(default_factory=dict)
    """The handler's arguments by name."""
    priority: Priority | None = None
    """1 is the most urgent."""
    timeout: Positive = None  # type: ignore[assignment]  # absent is the type's default, null is refused
    """Seconds that one attempt may run, from the handler's start."""
    queue: PartText | None = None
    """Where it waits."""
    run_at: Moment | None = None
    """When it may begin, at the earliest: now where neither this nor ``delay`` is given."""
    delay: Delay | None = None
    """Seconds from now, instead of ``run_at``."""
    max_attempts: Attempts | None = None
    """How often the handler may fail or time out until the task has failed."""
    expires_at: Moment | None = None
    """A task that has not begun until then is cancelled."""
    tags: Tags | None = None
    """Words to find it by."""
    unique_key: NameText | None = None
    """Of one key, at most one task is pending or running: while there is one, it is the answer."""

    def options(self) -> dict[str, Any]:
        """What was given, as keyword arguments of ``submit``."""
        return self.model_dump(exclude={"task_type", "task_data"}, exclude_unset=True)


BATCH_MOST = 1_000


class BatchRequest(Strict):
    """Many tasks to run. Each is taken or refused by itself."""

    tasks: list[ExecuteRequest] = Field(max_length=BATCH_MOST)
    """Each as for ``POST /api/v1/task/execute``."""


class RerunRequest(Strict):
    """What shall be different in the new task; what is absent stays as it was."""

    task_data: TaskData | None = None
    """All of its arguments, not only those that change."""
    queue: PartText | None = None
    """Where the new one waits."""
    priority: Priority | None = None
    """1 is the most urgent."""
    task_id: PartText | None = None
    """The new one's id; one is made where it is absent."""


class CancelRequest(Strict):
    """Why a task is cancelled."""

    reason: str = Field("", max_length=1_000)
    """Kept as the task's error."""


class ScheduleRequest(Strict):
    """A schedule, and the task that it submits."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["cron"], "properties": {"cron": {"type": "string"}, "every": {"type": "null"}}},
                {"required": ["every"], "properties": {"every": {"type": "number"}, "cron": {"type": "null"}}},
            ]
        }
    )

    name: Name
    """What it is called; one of this name is replaced."""
    cron: str | None = None
    """Five fields: minute, hour, day of the month, month, day of the week."""
    every: Interval | None = None
    """Seconds from one instant to the next, instead of ``cron``."""
    timezone: str = "UTC"
    """The zone of ``cron``, such as Asia/Shanghai."""
    task_type: NameText
    """What runs: the name of a handler."""
    task_data: TaskData = Field(default_factory=dict)
    """The handler's arguments by name."""
    queue: PartText | None = None
    """Where the tasks wait."""
    priority: Priority | None = None
    """1 is the most urgent."""
    max_attempts: Attempts | None = None
    """How often the handler may fail or time out until a task has failed."""
    timeout: Positive | None = None
    """Seconds that one attempt may run."""


class ScheduleChange(Strict):
    """What shall be different in a schedule; what is absent stays. ``cron`` takes the place of ``every``, and back."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"cron": {"type": "string"}, "every": {"type": "null"}}, "required": ["cron"]},
                {"properties": {"cron": {"type": "null"}, "every": {"type": "number"}}, "required": ["every"]},
                {"properties": {"cron": False, "every": False}},
            ]
        }
    )

    cron: str | None = None
    """Five fields: minute, hour, day of the month, month, day of the week."""
    every: Interval | None = None
    """Seconds from one instant to the next."""
    timezone: str = Field(default_factory=str)
    """The zone of ``cron``, such as Asia/Shanghai."""
    task_type: NameText = Field(default_factory=str)
    """What runs: the name of a handler."""
    task_data: TaskData = Field(default_factory=dict)
    """All of the handler's arguments, not only those that change."""
    arguments: TaskData = Field(default_factory=dict)
    """Those of the handler's arguments that change; the others stay."""
    queue: PartText | None = None
    """Where the tasks wait; null for the handler's own, as it is now."""
    priority: Priority | None = None
    """1 is the most urgent; null for the handler's own, as it is now."""
    max_attempts: Attempts | None = None
    """How often the handler may fail or time out until a task has failed; null for the handler's own."""
    timeout: Positive | None = None
    """Seconds that one attempt may run; null for the handler's own."""


def _cursor_of(kind: str) -> Any:
    return BeforeValidator(lambda text: row_of(kind, text) if isinstance(text, str) else text)


class TasksQuery(Strict):
    """Which tasks to list, newest first: those that fit all that is given."""

    status: tuple[Status, ...] = ()
    """Any of these, the parameter once for each."""
    type: str | None = None
    """Their task_type."""
    queue: str | None = None
    """Where they wait or ran."""
    tag: str | None = None
    """A word among their tags."""
    node: str | None = None
    """The id of the node that has, or had, them last."""
    created_after: Moment | None = None
    """Submitted at this instant or later."""
    created_before: Moment | None = None
    """Submitted before this instant."""
    q: str | None = Field(None, max_length=NAME_MAX)
    """How their task_id begins."""
    limit: int = Field(50, ge=1, le=PAGE)
    """How many at most."""
    cursor: Annotated[int, _cursor_of("tasks"), WithJsonSchema({"type": "string"})] | None = None
    """The ``next_cursor`` of the page before, with the same filter."""

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
    """Of what to tell. Other parameters are left alone, as they ever were."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    queue: str | None = None
    """Tell of the tasks of this queue alone."""


class AuditQuery(Strict):
    """Which changes to list, newest first."""

    limit: int = Field(50, ge=1, le=PAGE)
    """How many at most."""
    cursor: Annotated[int, _cursor_of("audit"), WithJsonSchema({"type": "string"})] | None = None
    """The ``next_cursor`` of the page before."""


class LogsQuery(Strict):
    """Where to go on reading."""

    after: int = Field(0, ge=0, le=2**63 - 1)
    """The ``next_after`` of the page before."""
    limit: int = Field(PAGE, ge=1, le=1_000)
    """How many lines at most."""


WAIT_MOST = 30.0  # seconds that one request may wait


class WaitQuery(BaseModel):
    """How long an answer may wait. Other parameters are left alone, as they ever were."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    wait: float = Field(0.0, ge=0.0, le=WAIT_MOST, allow_inf_nan=False)
    """Seconds that the answer may wait for the task's end; goes before a ``Prefer`` header."""
