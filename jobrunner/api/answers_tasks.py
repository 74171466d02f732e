"""What the newer calls on tasks answer with, as models."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from jobrunner.api.answers import Exact
from jobrunner.api.problems import ProblemModel
from jobrunner.queue.task import Status
from jobrunner.queue.views import AttemptView, LogView


class ListedTask(Exact):
    """One task as lists tell it; ``timeout`` and ``execution_time`` in seconds, ``reason`` is finer than ``status``."""

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
    completed_at: datetime | None
    lease_until: datetime | None
    node_id: str | None
    cancel_requested_at: datetime | None
    progress: float | None
    message: str
    error: str | None
    unique_key: str | None
    submitted_by: str | None
    tags: list[str]
    execution_time: float


class WholeTask(ListedTask):
    """One task with what it was given and what it came to."""

    task_data: dict[str, Any]
    result: dict[str, Any] | None


class TaskResult(Exact):
    """What an ended task came to; ``result`` is null where it failed or was cancelled, and ``error`` says why."""

    task_id: str
    status: Literal["completed", "failed", "cancelled"]
    result: dict[str, Any] | None
    error: str | None


class OpenTask(Exact):
    """A task that has not ended yet."""

    task_id: str
    status: Literal["pending", "running"]


class Tasks(Exact):
    """One page of tasks, newest first; ``next_cursor`` is the ``cursor`` of the next, null after the last."""

    tasks: list[ListedTask]
    next_cursor: str | None


class Attempts(Exact):
    """The attempts of a task that ended badly or were released, oldest first."""

    attempts: list[AttemptView]


class Logs(Exact):
    """Log lines of a task in the order they came; ``next_after`` goes on behind them."""

    logs: list[LogView]
    next_after: int


class BatchTaken(Exact):
    """A task of a batch that stands in the queue: ``status`` 202 where the batch made it, 200 where it was there."""

    index: int
    status: int
    task_id: str
    task_status: Status


class BatchRefused(Exact):
    """A task of a batch that was not stored; pointers lead into that task."""

    index: int
    status: int
    problem: ProblemModel


class BatchAnswer(Exact):
    """One result for each task of a batch, in its order; ``accepted`` stand in the queue, ``refused`` do not."""

    results: list[BatchTaken | BatchRefused]
    accepted: int
    refused: int
