"""What a task is: its statuses, the lawful moves between them, its lease, and what one attempt came to.

Values only: no SQL, no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 5
PRIORITIES = range(1, 11)  # 1 first
DEFAULT_MAX_ATTEMPTS = 3
CRASH_BUDGET = 3  # the third attempt whose child died fails the task
LOSS_BUDGET = 10  # the tenth attempt whose node died fails the task
SNOOZE_BUDGET = 1_000  # RetryLater in one generation


class Status(StrEnum):
    """The five words of the wire format; finer truth is a derived reason, never a sixth status."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

MOVES: dict[str, tuple[frozenset[Status], frozenset[Status]]] = {
    "claim": (frozenset({Status.PENDING}), frozenset({Status.RUNNING})),
    "settle": (frozenset({Status.RUNNING}), ENDED | {Status.PENDING}),
    "release": (frozenset({Status.RUNNING}), frozenset({Status.PENDING, Status.CANCELLED})),
    "reclaim": (frozenset({Status.RUNNING}), frozenset({Status.PENDING, Status.FAILED, Status.CANCELLED})),
    "cancel": (frozenset({Status.PENDING}), frozenset({Status.CANCELLED})),
    "expire": (frozenset({Status.PENDING}), frozenset({Status.CANCELLED})),
    "retry": (frozenset({Status.FAILED, Status.CANCELLED}), frozenset({Status.PENDING})),
}
"""Every move: the statuses it starts from, and those it may lead to. The tests' model reads this table."""


class Ending(StrEnum):
    """How one attempt ended; the ``outcome`` of its row in ``attempts``."""

    COMPLETED = "completed"
    ERROR = "error"  # the handler raised, or returned what cannot be stored
    REFUSED = "refused"  # the arguments do not fit the handler: never retried
    TIMEOUT = "timeout"
    CRASHED = "crashed"  # its child died: signal or exit code
    OUT_OF_MEMORY = "out_of_memory"
    RETRY_LATER = "retry_later"  # the handler raised RetryLater
    CANCELLED = "cancelled"  # on request, or the handler raised Cancel
    RELEASED = "released"  # given back unharmed
    LOST = "lost"  # its node died


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one claim to one attempt. ``token`` proves it on every write."""

    id: int
    token: str
    attempt: int


@dataclass(slots=True)
class Task:
    """One claimed task, as its executor sees it. ``payload`` is JSON text, decoded one by one by who runs it.

    Nobody changes it; it is not frozen because making it, at each claim, would cost seven times as much.
    """

    lease: Lease
    task_id: str
    task_type: str
    payload: str
    queue: str
    priority: int
    generation: int
    timeout: float | None
    max_attempts: int
    failures: int
    crashes: int
    snoozes: int
    tags: str | None = None
    traceparent: str | None = None


@dataclass(slots=True)
class Outcome:
    """What one attempt came to, whatever happened. Not frozen, and never changed, like Task.

    ``result`` is JSON text, already cleaned. ``delay`` is in seconds and counts from the settling: the back-off of an
    ending that may be tried again. ``peak_rss`` is in bytes.
    """

    ending: Ending
    result: str | None = None
    error: str | None = None
    error_class: str | None = None
    traceback: str | None = None
    delay: float = 0.0
    exit_signal: int | None = None
    exit_code: int | None = None
    peak_rss: int | None = None
    settled: bool = False  # the child settled the task in its own transaction
    effects: tuple[tuple[str, list[Any]], ...] = ()  # name and rows: they commit with the settlement, or not at all


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line kept with an attempt. ``at`` is aware UTC; ``fields`` holds JSON values."""

    at: datetime
    level: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


class NewTask(NamedTuple):
    """A request to run something, checked and canonical; see :func:`jobrunner.queue.request.new_task`.

    A tuple, as the stream into the database takes it.

    ``run_at`` (aware) or ``delay`` (seconds, by the database's clock) says when; neither means now.
    """

    task_id: str
    task_type: str
    payload: str
    request_hash: str
    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    run_at: datetime | None = None
    delay: float | None = None
    timeout: float | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    expires_at: datetime | None = None
    unique_key: str | None = None
    concurrency_key: str | None = None
    parent_id: int | None = None
    tags: str | None = None
    traceparent: str | None = None
    submitted_by: str | None = None
