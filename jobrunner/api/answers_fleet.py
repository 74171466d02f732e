"""What the calls about the fleet answer, as models: exact, since the OpenAPI document is made from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobrunner.queue.operation import Action
from jobrunner.queue.reasons import Code
from jobrunner.queue.task import Status


class Told(BaseModel):
    """An answer in which every field is always there."""

    model_config = ConfigDict(extra="forbid")


class QueueAnswer(Told):
    """One queue. ``pending`` and ``running`` are counted up to 10,000; limits are null where there is none."""

    name: str
    paused: bool
    paused_at: AwareDatetime | None
    paused_by: str | None
    pause_reason: str | None
    max_running: int | None
    max_pending: int | None
    pending: int
    running: int


class QueuesAnswer(Told):
    """The queues, by name."""

    queues: list[QueueAnswer]


class NodeAnswer(Told):
    """One node. ``rss`` and ``memory_total`` in bytes, percentages 0 to 100, ``busy_seconds`` of all its handlers.

    ``state`` is active, overloaded, draining, stuck or stopped; ``alive`` that it beats. ``queues`` null means all.
    """

    id: str
    name: str
    host: str
    pid: int
    address: str | None
    version: str
    state: str
    reason: str | None
    queues: list[str] | None
    types: list[str]
    slots: int
    running: int
    stuck: int
    completed: int
    failed: int
    busy_seconds: float
    cpu_percent: float
    memory_percent: float
    disk_percent: float
    load: float
    rss: int
    cpu_count: int
    memory_total: int
    heartbeat_interval: float
    started_at: AwareDatetime
    heartbeat_at: AwareDatetime
    stopped_at: AwareDatetime | None
    drain_requested_at: AwareDatetime | None
    alive: bool


class NodesAnswer(Told):
    """The nodes of the last day, living ones first."""

    nodes: list[NodeAnswer]


class TypeAnswer(Told):
    """One task type: what workers publish of it. ``nodes`` are the ids of those that claim it now.

    Defaults that are null are those of the program; ``timeout`` in seconds.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: str
    description: str | None
    arguments: dict[str, Any] = Field(alias="schema", description="JSON Schema of its task_data")
    queue: str | None
    priority: int | None
    max_attempts: int | None
    timeout: float | None
    nodes: list[str]
    published_at: AwareDatetime


class TypesAnswer(Told):
    """The task types, by name."""

    types: list[TypeAnswer]


class ReasonAnswer(Told):
    """One reason. ``until`` is when it passes by itself, ``nodes`` the ids of those that it concerns."""

    code: Code
    detail: str
    until: AwareDatetime | None
    nodes: list[str]


class WhyAnswer(Told):
    """Why a task is not running: at least one reason, what concerns the task first."""

    task_id: str
    status: Status
    reasons: list[ReasonAnswer]


class OperationAnswer(Told):
    """One operation. ``matched`` are the tasks that it met so far and could change; ``progress`` is 0 to 1.

    ``capped``: a dry run that stopped counting at 10,000, so that there are more. Of ``ids``, those that are not there,
    or in no status for it, are ``unchanged`` as well. ``error`` is what its last step failed with, where it did: it is
    tried again, behind the others.
    """

    id: str
    action: Action
    state: Literal["running", "done", "aborted"]
    dry_run: bool
    ids: list[str] | None
    filter: dict[str, Any] | None
    matched: int
    changed: int
    unchanged: int
    capped: bool
    progress: float
    error: str | None
    created_by: str
    created_at: AwareDatetime
    ended_at: AwareDatetime | None


class OperationsAnswer(Told):
    """The latest operations, newest first."""

    operations: list[OperationAnswer]


class EndedAnswer(Told):
    """What ended of one type or in one queue; seconds are how long the last attempt of completed ones ran."""

    name: str
    completed: int
    failed: int
    cancelled: int
    mean_seconds: float
    p95_seconds: float


class CountsAnswer(Told):
    """Tasks by status, each counted up to 10,000."""

    pending: int
    running: int
    completed: int
    failed: int
    cancelled: int


class StatsAnswer(Told):
    """``types`` and ``ended`` (by queue) tell what ended since ``since``: less than an hour where ``capped``."""

    counts: CountsAnswer
    since: AwareDatetime
    capped: bool
    types: list[EndedAnswer]
    ended: list[EndedAnswer]
    queues: list[QueueAnswer]


class FailureGroupAnswer(Told):
    """Failures of one kind; ``example`` is the latest one's error."""

    fingerprint: str
    task_type: str
    error_class: str | None
    example: str
    count: int
    first_at: AwareDatetime
    last_at: AwareDatetime
    last_task_id: str


class FailuresAnswer(Told):
    """The groups, the one that failed last first; ``looked_at`` failed tasks, which are ``all`` or the newest."""

    errors: list[FailureGroupAnswer]
    looked_at: int
    all: bool


class FailureAnswer(FailureGroupAnswer):
    """One group, with the ids of its tasks, the latest first."""

    task_ids: list[str]
