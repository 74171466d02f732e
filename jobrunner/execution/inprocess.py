"""What the two ways of running a handler inside the worker share: nothing can end such a handler against its will."""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from jobrunner.errors import HandlerError, LeaseLost
from jobrunner.execution import capture
from jobrunner.execution.attempt import stopped, with_delay
from jobrunner.execution.pace import Pacer
from jobrunner.execution.pool import TASK_TIMEOUT, Grace, Reports, time_limit
from jobrunner.execution.quota import Quota
from jobrunner.handlers.context import Context, Transaction
from jobrunner.handlers.declare import Handler
from jobrunner.queue.task import Ending, LogLine, Outcome, Task


class InProcessChannel:
    """Carries a Context's words to the worker it runs in."""

    def __init__(self, task: Task, reports: Reports, loop_thread: int | None) -> None:
        self._lease = task.lease
        self._reports = reports
        self._loop_thread = loop_thread
        self._pacer = Pacer(lambda fraction, message: reports.progress(task.lease, fraction, message))
        self._quota = Quota("log")
        self._over = False
        self.asked = False
        self.seen = False  # the handler knows that it was asked to end

    @property
    def cancelled(self) -> bool:
        """Whether this attempt was asked to end."""
        self.seen = self.seen or self.asked
        return self.asked

    def progress(self, fraction: float | None, message: str) -> None:
        """Pass progress on, at most ten times a second."""
        if not self._over:
            self._pacer.tell(fraction, message)

    def log(self, line: LogLine) -> None:
        """Keep a line, as long as there are not too many."""
        kept = None if self._over else self._quota.admit(line)
        if kept is not None:
            self._reports.logs(self._lease, [kept])

    def apply(self, effect: str, rows: list[Any]) -> Any:
        """Let the worker run the effect."""
        if threading.get_ident() == self._loop_thread:
            raise HandlerError(
                "ctx.apply waits for the database and would hold up every task of this worker: "
                "in an async handler, await asyncio.to_thread(ctx.apply, ...)"
            )
        if self._over:
            raise LeaseLost("this attempt was given up")
        return self._reports.apply(self._lease, effect, rows)

    def transaction(self, context: Context) -> AbstractContextManager[Transaction]:
        """Refused: a transaction left open by a handler that cannot be stopped would stop everybody else."""
        raise HandlerError(
            f"{context.task_type}: ctx.transaction() is for plain handlers in a child process on PostgreSQL; "
            "this one runs inside the worker: use ctx.on_complete or ctx.apply"
        )

    def close(self) -> None:
        """The attempt is over: pass on what was held back, and nothing from now on."""
        if self._over:
            return
        self._pacer.flush()
        self._over = True
        note = self._quota.note()
        if note is not None:
            self._reports.logs(self._lease, [note])


@dataclass(eq=False)
class InProcessAttempt:
    """One attempt that runs inside the worker. ``over`` is set when nobody waits for it any more."""

    task: Task
    handler: Handler
    context: Context
    channel: InProcessChannel
    limit: float
    over: asyncio.Event
    work: asyncio.Future[Outcome] | None = None
    ending: Ending | None = None
    wishes: set[Ending] = field(default_factory=set)
    interrupted: bool = False

    def outcome(self) -> Outcome:
        """What it came to, once it is over."""
        work = self.work
        found = work.result() if work is not None and work.done() and not work.cancelled() else None
        if found is not None and (self.ending is None or (self.ending is Ending.RELEASED and self._unaware(found))):
            return found
        ending = self.ending or Ending.RELEASED  # its loop was shut down under it
        error = stopped(ending, self.limit)
        if found is None:
            error += "; its handler goes on inside the worker and keeps its slot"
        return Outcome(ending, error=error, traceback=found.traceback if found else None)

    def _unaware(self, found: Outcome) -> bool:
        return found.ending is Ending.COMPLETED and not self.channel.seen and not self.interrupted


class InProcessPool(ABC):
    """Slots inside the worker. A handler that goes on after its end keeps its slot, which then counts as stuck."""

    kind: str
    _loop_thread: int | None = None  # where handlers may not block

    def __init__(self, slots: int, *, task_timeout: float = TASK_TIMEOUT, grace: Grace | None = None) -> None:
        self.slots = slots
        self._task_timeout = task_timeout
        self._grace = grace or Grace()
        self._attempts: dict[int, InProcessAttempt] = {}
        self._stuck: set[asyncio.Future[Outcome]] = set()

    @abstractmethod
    def _begin(self, attempt: InProcessAttempt) -> asyncio.Future[Outcome]:
        """Start the handler; the future is done when it has really ended, and never fails."""

    @abstractmethod
    def _interrupt(self, attempt: InProcessAttempt) -> float:
        """End the handler by force, as far as there is any; returns the seconds after which it is given up."""

    async def start(self) -> None:
        """Keep what handlers log."""
        logging.getLogger().addHandler(capture.KEPT)

    async def close(self) -> None:
        """Ask everything to end; what does not within the grace goes on until the process ends."""
        for attempt in self._attempts.values():
            self._halt(attempt, Ending.RELEASED)
            self._interrupt_now(attempt)
        await asyncio.gather(*(attempt.over.wait() for attempt in self._attempts.values()))
        logging.getLogger().removeHandler(capture.KEPT)

    def free(self) -> int:
        """Slots that can take a task now."""
        return self.slots - len(self._attempts) - len(self._stuck)

    def stuck(self) -> int:
        """Slots whose handler goes on although its attempt was given up."""
        return len(self._stuck)

    async def greediest(self) -> int | None:
        """None: memory inside one process cannot be told apart."""
        return None

    def stop(self, task_row_id: int, ending: Ending) -> bool:
        """Ask an attempt to end; False if none runs. A call for a second reason hurries."""
        attempt = self._attempts.get(task_row_id)
        if attempt is None:
            return False
        self._halt(attempt, ending)
        return True

    async def run(self, task: Task, handler: Handler, reports: Reports) -> Outcome:
        """Run one attempt to its end, or until it is given up."""
        channel = InProcessChannel(task, reports, self._loop_thread)
        limit = time_limit(task, handler, self._task_timeout)
        attempt = InProcessAttempt(task, handler, Context(task, channel), channel, limit, asyncio.Event())
        timer = asyncio.get_running_loop().call_later(limit, self._halt, attempt, Ending.TIMEOUT)
        self._attempts[task.lease.id] = attempt
        attempt.work = work = self._begin(attempt)
        work.add_done_callback(lambda _: attempt.over.set())
        try:
            await attempt.over.wait()
        finally:
            timer.cancel()
            channel.close()
            attempt.over.set()
            del self._attempts[task.lease.id]
            if not work.done():
                self._stuck.add(work)
                work.add_done_callback(self._stuck.discard)
                self._interrupt(attempt)
        return with_delay(attempt.outcome(), task, handler)

    def _halt(self, attempt: InProcessAttempt, ending: Ending) -> None:
        if ending in attempt.wishes:
            return
        attempt.wishes.add(ending)
        hurry = attempt.ending is not None or ending in (Ending.TIMEOUT, Ending.LOST)
        attempt.ending = attempt.ending or ending
        attempt.channel.asked = True
        if hurry:
            self._interrupt_now(attempt)
        else:
            asyncio.get_running_loop().call_later(self._grace.ask, self._interrupt_now, attempt)

    def _interrupt_now(self, attempt: InProcessAttempt) -> None:
        if not attempt.interrupted and not attempt.over.is_set():
            attempt.interrupted = True
            patience = self._interrupt(attempt)
            asyncio.get_running_loop().call_later(patience, attempt.over.set)
