"""What the two ways of running a handler inside the worker share: nothing can end such a handler against its will."""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from jobrunner.errors import HandlerError, LeaseLost
from jobrunner.execution import capture
from jobrunner.execution.attempt import stopped, with_delay
from jobrunner.execution.pace import Pacer
from jobrunner.execution.pool import TASK_TIMEOUT, Done, Grace, Pool, Reports, time_limit
from jobrunner.execution.quota import Quota
from jobrunner.handlers.context import Context, Transaction
from jobrunner.handlers.declare import Handler
from jobrunner.queue.task import Ending, LogLine, Outcome, Task

_MAKING = threading.Lock()  # a handler's threads may say its first words at once


def refuse_in_loop() -> NoReturn:
    """What an ``async`` handler hears that would apply an effect in the worker's own loop."""
    raise HandlerError(
        "ctx.apply waits for the database and would hold up every task of this worker: "
        "in an async handler, await asyncio.to_thread(ctx.apply, ...)"
    )


def refuse_transaction(context: Context) -> NoReturn:
    """What a handler inside the worker hears that would have a transaction of its own."""
    raise HandlerError(
        f"{context.task_type}: ctx.transaction() is for plain handlers in a child process on PostgreSQL; "
        "this one runs inside the worker: use ctx.on_complete or ctx.apply"
    )


class InProcessChannel:
    """Carries a Context's words to the worker it runs in."""

    __slots__ = ("_lease", "_loop_thread", "_over", "_pacer", "_quota", "_reports", "asked", "seen")

    def __init__(self, task: Task, reports: Reports, loop_thread: int | None) -> None:
        self._lease = task.lease
        self._reports = reports
        self._loop_thread = loop_thread
        self._pacer: Pacer | None = None  # made by the first word: most attempts say none
        self._quota: Quota | None = None
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
            with _MAKING:
                self._pacer = self._pacer or Pacer(partial(self._reports.progress, self._lease))
            self._pacer.tell(fraction, message)

    def log(self, line: LogLine) -> None:
        """Keep a line, as long as there are not too many."""
        with _MAKING:
            self._quota = self._quota or Quota("log")
        kept = None if self._over else self._quota.admit(line)
        if kept is not None:
            self._reports.logs(self._lease, [kept])

    def apply(self, effect: str, rows: list[Any]) -> Any:
        """Let the worker run the effect."""
        if threading.get_ident() == self._loop_thread:
            refuse_in_loop()
        if self._over:
            raise LeaseLost("this attempt was given up")
        return self._reports.apply(self._lease, effect, rows)

    def transaction(self, context: Context) -> AbstractContextManager[Transaction]:
        """Refused: a transaction left open by a handler that cannot be stopped would stop everybody else."""
        refuse_transaction(context)

    def close(self) -> None:
        """The attempt is over: pass on what was held back, and nothing from now on."""
        if self._over:
            return
        if self._pacer is not None:
            self._pacer.flush()
        self._over = True
        note = None if self._quota is None else self._quota.note()
        if note is not None:
            self._reports.logs(self._lease, [note])


@dataclass(eq=False, slots=True)
class InProcessAttempt:
    """One attempt that runs inside the worker. ``over`` is True when nobody waits for it any more."""

    task: Task
    handler: Handler
    context: Context
    channel: InProcessChannel
    limit: float
    deadline: float  # by the loop's clock
    done: Done
    over: bool = False
    work: asyncio.Future[None] | None = None
    found: Outcome | None = None  # what its handler came to
    ending: Ending | None = None
    wishes: tuple[Ending, ...] = ()
    interrupted: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether its handler is still at work."""
        return self.found is None and self.work is not None and not self.work.done()

    def outcome(self) -> Outcome:
        """What it came to, once it is over."""
        found = self.found
        if found is not None and (self.ending is None or (self.ending is Ending.RELEASED and self._unaware(found))):
            return found
        ending = self.ending or Ending.RELEASED  # its loop was shut down under it
        error = stopped(ending, self.limit)
        if self.goes_on:
            error += "; its handler goes on inside the worker and keeps its slot"
        return Outcome(ending, error=error, traceback=found.traceback if found else None)

    def _unaware(self, found: Outcome) -> bool:
        return found.ending is Ending.COMPLETED and not self.channel.seen and not self.interrupted


class InProcessPool(Pool):
    """Slots inside the worker. A handler that goes on after its end keeps its slot, which then counts as stuck."""

    _loop: asyncio.AbstractEventLoop
    _loop_thread: int | None = None  # where handlers may not block

    def __init__(self, slots: int, *, task_timeout: float = TASK_TIMEOUT, grace: Grace | None = None) -> None:
        self.slots = slots
        self._task_timeout = task_timeout
        self._grace = grace or Grace()
        self._attempts: dict[int, InProcessAttempt] = {}
        self._stuck: set[InProcessAttempt] = set()
        self._alarm: asyncio.TimerHandle | None = None  # one for all: at the earliest deadline
        self._calm = asyncio.Event()  # set while no attempt runs and somebody waits for that

    @abstractmethod
    def _begin(self, attempt: InProcessAttempt) -> asyncio.Future[None]:
        """Start the handler: :meth:`_ended` is called when it has ended, and the future is then done."""

    @abstractmethod
    def _interrupt(self, attempt: InProcessAttempt) -> float:
        """End the handler by force, as far as there is any; returns the seconds after which it is given up."""

    async def start(self) -> None:
        """Keep what handlers log."""
        self._loop = asyncio.get_running_loop()
        capture.keep_own()

    async def close(self) -> None:
        """Ask everything to end; what does not within the grace goes on until the process ends."""
        for attempt in tuple(self._attempts.values()):
            self._halt(attempt, Ending.RELEASED)
            self._interrupt_now(attempt)
        while self._attempts:
            self._calm.clear()
            await self._calm.wait()
        if self._alarm is not None:
            self._alarm.cancel()

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

    def begin(self, task: Task, handler: Handler, reports: Reports, done: Done) -> None:
        """Begin one attempt; ``done`` hears when it ended or was given up."""
        channel = InProcessChannel(task, reports, self._loop_thread)
        limit = time_limit(task, handler, self._task_timeout)
        deadline = self._loop.time() + limit
        attempt = InProcessAttempt(task, handler, Context(task, channel), channel, limit, deadline, done)
        self._attempts[task.lease.id] = attempt
        attempt.work = self._begin(attempt)
        if self._alarm is None or deadline < self._alarm.when():
            self._set_alarm(deadline)

    def _ended(self, attempt: InProcessAttempt, found: Outcome | None) -> None:
        """The handler has come to its end; to none (None) where it was ended before it began."""
        if attempt.over:
            self._stuck.discard(attempt)
            return
        attempt.found = found
        self._close(attempt)

    def _close(self, attempt: InProcessAttempt) -> None:
        """Tell what the attempt came to, whether its handler has ended or is given up."""
        if attempt.over:
            return
        attempt.over = True
        attempt.channel.close()
        del self._attempts[attempt.task.lease.id]
        if attempt.goes_on:
            self._stuck.add(attempt)
            self._interrupt(attempt)
        if not self._attempts:
            self._calm.set()
        attempt.done(attempt.task, with_delay(attempt.outcome(), attempt.task, attempt.handler))

    def _set_alarm(self, moment: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(moment, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        for attempt in tuple(self._attempts.values()):
            if attempt.deadline <= self._loop.time():
                self._halt(attempt, Ending.TIMEOUT)
        waiting = [one.deadline for one in self._attempts.values() if Ending.TIMEOUT not in one.wishes]
        if waiting:
            self._set_alarm(min(waiting))

    def _halt(self, attempt: InProcessAttempt, ending: Ending) -> None:
        if ending in attempt.wishes:
            return
        attempt.wishes += (ending,)
        hurry = attempt.ending is not None or ending in (Ending.TIMEOUT, Ending.LOST)
        attempt.ending = attempt.ending or ending
        attempt.channel.asked = True
        if hurry:
            self._interrupt_now(attempt)
        else:
            self._loop.call_later(self._grace.ask, self._interrupt_now, attempt)

    def _interrupt_now(self, attempt: InProcessAttempt) -> None:
        if not attempt.interrupted and not attempt.over:
            attempt.interrupted = True
            patience = self._interrupt(attempt)
            self._loop.call_later(patience, self._close, attempt)
