"""What the worker knows of a way to run tasks, and what such a way asks of the worker."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from jobrunner.handlers.declare import Handler
from jobrunner.queue.task import Ending, Lease, LogLine, Outcome, Task

TASK_TIMEOUT = 300.0  # seconds, for tasks whose request and handler say nothing

Done = Callable[[Task, Outcome], None]


@dataclass(frozen=True, slots=True)
class Grace:
    """How long an attempt may take to end by itself, in seconds.

    ``ask``: from ``ctx.cancelled`` to TERM; ``term``: from TERM to KILL; ``memory``: the same when it eats memory.
    """

    ask: float = 1.0
    term: float = 5.0
    memory: float = 1.0


class Reports(Protocol):
    """What an attempt tells while it runs. Implemented by the worker; every call is safe in any thread."""

    @property
    def database_url(self) -> str | None:
        """Where children write for themselves; None where they cannot (SQLite has one writing process)."""

    def progress(self, lease: Lease, fraction: float | None, message: str) -> None:
        """The attempt is so far. Returns at once."""

    def logs(self, lease: Lease, lines: list[LogLine]) -> None:
        """Lines to keep with the attempt. Returns at once."""

    def apply(self, lease: Lease, effect: str, rows: list[Any]) -> Any:
        """Run an effect in a transaction fenced by the lease; blocks, and raises LeaseLost."""


class Pool(ABC):
    """A number of slots that run attempts of one kind. All calls belong to the worker's loop."""

    kind: str
    slots: int

    @abstractmethod
    async def start(self) -> None:
        """Get ready for tasks; what they need is then started as they come."""

    def warm(self) -> None:  # noqa: B027 - most pools have nothing to warm up
        """There is time to get slots ready that no task has asked for yet. Returns at once; may be called again."""

    @abstractmethod
    async def close(self) -> None:
        """End everything that runs; in a child process for certain."""

    @abstractmethod
    def free(self) -> int:
        """Slots that can take a task now; stuck ones are taken."""

    @abstractmethod
    def stuck(self) -> int:
        """Slots whose handler goes on although its attempt was given up."""

    @abstractmethod
    def begin(self, task: Task, handler: Handler, reports: Reports, done: Done) -> None:
        """Begin one attempt. ``done`` is called once, in this loop, with what it came to, whatever that is.

        By a call and not by an awaitable: a second coroutine for each attempt took a third of the loop's time.
        """

    async def run(self, task: Task, handler: Handler, reports: Reports) -> Outcome:
        """Begin one attempt and wait for its end; raises nothing that a handler does."""
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(_task: Task, outcome: Outcome) -> None:
            if not ended.done():
                ended.set_result(outcome)

        self.begin(task, handler, reports, done)
        try:
            return await ended
        except asyncio.CancelledError:
            self.stop(task.lease.id, Ending.LOST)  # nobody wants its outcome any more
            raise

    @abstractmethod
    async def greediest(self) -> int | None:
        """The row id of the running task that holds most memory, measured now; None where nobody can say."""

    @abstractmethod
    def stop(self, task_row_id: int, ending: Ending) -> bool:
        """Ask an attempt to end as CANCELLED, LOST, RELEASED or OUT_OF_MEMORY, and see to it; False if none runs.

        Its Outcome then has that ending; that of one that was to be RELEASED, never saw it and completed is COMPLETED.
        A call for a second reason hurries; the same reason again changes nothing.
        """


def time_limit(task: Task, handler: Handler, default: float) -> float:
    """Seconds that one attempt may take: the request's word, else the handler's, else the default."""
    return task.timeout or handler.timeout or default
