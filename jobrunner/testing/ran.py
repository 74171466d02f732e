"""What one run of a task came to, and what it told on its way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from jobrunner.queue.task import Ending, LogLine, Status
from jobrunner.testing.calls import Call


class Progress(NamedTuple):
    """One report of progress: when (by the test's clock), how far (0 to 1, or None), and the words."""

    at: datetime
    fraction: float | None
    message: str


class Asked(NamedTuple):
    """One effect that the handler asked for, by its registered name."""

    effect: str
    rows: list[Any]


@dataclass(frozen=True)
class Ran:
    """What :func:`jobrunner.testing.run` returns.

    ``status`` is where a worker would have put the task: ``completed``, ``failed``, ``cancelled``, or ``pending`` where
    it would run again; ``delay`` says after how many seconds at most then (None otherwise): exactly so many after
    RetryLater, a random part of them after a failure. ``ending`` is how the attempt ended.
    """

    status: Status
    ending: Ending
    result: Any
    error: str | None
    error_class: str | None
    traceback: str | None
    delay: float | None
    progress: tuple[Progress, ...]
    logs: tuple[LogLine, ...]
    applied: tuple[Asked, ...]
    on_complete: tuple[Asked, ...]
    calls: tuple[Call, ...]

    @property
    def retries(self) -> bool:
        """Whether the task would be run again."""
        return self.status is Status.PENDING
