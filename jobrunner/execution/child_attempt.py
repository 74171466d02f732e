"""One attempt in a child process, as the worker sees it: its deadline, its end by force, its Outcome."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from jobrunner.errors import DatabaseUnavailable, LeaseLost
from jobrunner.execution.attempt import class_name, stopped
from jobrunner.execution.pool import Done, Grace, Reports
from jobrunner.execution.process import START_TIMEOUT, Child, Exit
from jobrunner.execution.quota import Quota
from jobrunner.execution.wire import Message
from jobrunner.handlers.declare import Handler
from jobrunner.queue import codec
from jobrunner.queue.task import Ending, LogLine, Outcome, Task
from jobrunner.text import mask

KILL_TIMEOUT = 10.0  # seconds from KILL to the end of our patience
LINES_EVERY = 0.2  # seconds between two reports of what a child wrote
_NEVER = float("inf")
_FACTS = attrgetter(*(field.name for field in dataclasses.fields(Task)[1:]))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all attempts of a pool share. ``watch`` is told of deadlines, ``over`` of an attempt that has ended.

    ``works`` keeps what runs beside them from being collected.
    """

    loop: asyncio.AbstractEventLoop
    grace: Grace
    effects: Executor
    watch: Callable[[float], None]
    over: Callable[[ChildAttempt, Outcome], None]
    works: set[asyncio.Task[None]]


class ChildAttempt:
    """Listens to a child from the message that starts a handler to the one that ends it, or to the child's death.

    Stages of an end by force: ask, TERM, KILL. Most attempts are short and silent: what they do not need is not made.
    """

    __slots__ = (
        "_limit",
        "_lines",
        "_quota",
        "_reports",
        "_shared",
        "_timers",
        "_traceback",
        "_wishes",
        "child",
        "deadline",
        "done",
        "ending",
        "handler",
        "over",
        "peak",
        "task",
        "terminated",
    )

    def __init__(
        self, task: Task, handler: Handler, reports: Reports, limit: float, done: Done, shared: Shared
    ) -> None:
        self.task = task
        self.handler = handler
        self.done = done
        self._reports = reports
        self._limit = limit
        self._shared = shared
        self._quota: Quota | None = None
        self._lines: list[LogLine] = []
        self._timers: tuple[asyncio.TimerHandle, ...] = ()
        self._traceback: str | None = None
        self._wishes: tuple[Ending, ...] = ()
        self.child: Child | None = None
        self.deadline = _NEVER
        self.over = False
        self.ending: Ending | None = None
        self.terminated = False
        self.peak: int | None = None

    def begin(self, child: Child) -> None:
        """Hand the task to this child; its time runs from now."""
        self.child = child
        task = self.task
        child.begin(
            self,
            {
                "op": "run",
                "task": [(task.lease.id, task.lease.token, task.lease.attempt), *_FACTS(task)],
                "module": self.handler.module,
                "own": self._reports.database_url is not None,
                "limit": self._limit,
            },
        )
        self._restart(self._limit)

    def stop(self, ending: Ending) -> None:
        """Begin to end it. The first call says why; one for another reason goes on to the next stage at once.

        It is never over before this returns.
        """
        if self.over or ending in self._wishes:
            return
        self._wishes += (ending,)
        hurry = self.ending is not None or ending not in (Ending.CANCELLED, Ending.RELEASED)
        self.ending = self.ending or ending
        if self.child is None:
            self._shared.loop.call_soon(self.finish, self._stopped())
        elif self.terminated:
            self._kill()
        elif hurry:
            self._terminate()
        else:
            self.child.send({"op": "stop"})
            self._later(self._shared.grace.ask, self._terminate)

    def expire(self) -> None:
        """Its time is over."""
        self.deadline = _NEVER
        self.stop(Ending.TIMEOUT)

    def measured(self, rss: int) -> None:
        """Its process tree holds so many bytes now."""
        self.peak = max(self.peak or 0, rss)
        limit = self.handler.memory_mb
        if limit is not None and rss > limit * 2**20 and self.ending is None:
            self.stop(Ending.OUT_OF_MEMORY)

    # -- what the child tells -------------------------------------------------------------------------------------

    def message(self, message: Message) -> None:
        """The child said something."""
        match message["op"]:
            case "end":
                self._ended(message)
            case "progress":
                self._reports.progress(self.task.lease, message["fraction"], message["message"])
            case "log":
                at = _EPOCH + timedelta(microseconds=message["at"])
                self._keep(LogLine(at, message["level"], message["message"], message["fields"]))
            case "importing":
                self._restart(START_TIMEOUT)
            case "started":
                self._restart(self._limit)
            case "apply":
                self._work(self._apply(message))
            case "threads":
                self._threads(message)
            case "url":
                self._say({"answer": message["ask"], "url": self._reports.database_url})

    def line(self, stream: str, text: str) -> None:
        """It wrote a line to stdout or stderr."""
        kept = self._output().admit(LogLine(datetime.now(UTC), stream, text))
        if kept is not None:
            self._keep(kept)

    def dropped(self, lines: int) -> None:
        """It wrote lines that nobody wants any more."""
        self._output().drop(lines)

    def full(self) -> bool:
        """Whether it wrote enough."""
        return self._quota is not None and self._quota.spent

    def ended(self, how: Exit) -> None:
        """The child is gone, and everything that it started."""
        if self.over:
            return
        if self.child is not None and (self.peak is None or how.peak_rss > self.child.peak_rss):
            self.peak = max(self.peak or 0, how.peak_rss)
        if self.ending is not None:
            outcome = self._stopped()
        else:
            error = how.fault or f"its process died: {_death(how.code)}"
            if self.child is not None and self.child.left_threads:
                error += _suspects(self.child.left_threads, self.child.left_told)
            words = mask(codec.clean_text(how.stderr, codec.TRACEBACK_MAX_BYTES)) or None
            outcome = Outcome(Ending.CRASHED, error=error, traceback=words, peak_rss=self.peak)
        if how.code < 0:
            self.finish(replace(outcome, exit_signal=-how.code))
        else:
            self.finish(replace(outcome, exit_code=how.code))

    def _threads(self, message: Message) -> None:
        if self.child is not None:
            self.child.left_threads, self.child.left_told = message["count"], message["told"]

    # -- how it ends ----------------------------------------------------------------------------------------------

    def _ended(self, message: Message) -> None:
        outcome = _outcome(message["outcome"])
        child = self.child
        if child is None or self.over:
            return
        if "peak" in message:  # it has risen
            child.peak_rss = max(child.peak_rss, message["peak"])
            self.peak = max(self.peak or 0, message["peak"])
        if "worn" in message:  # what it started runs on, or it cannot print
            child.condemned = True
        if self.ending is not None and not outcome.settled:
            if self.ending is Ending.RELEASED and outcome.ending is Ending.COMPLETED and "asked" not in message:
                self.finish(outcome)
                return
            self._traceback = outcome.traceback
            if self.terminated:  # an exception was thrown into its middle: it is not used again, and its end awaited
                self._kill()
                return
            outcome = self._stopped()
        elif outcome.ending is not Ending.COMPLETED:
            outcome = replace(outcome, peak_rss=max(self.peak or 0, message.get("now", 0)) or None)
        self.finish(outcome)

    def _stopped(self) -> Outcome:
        assert self.ending is not None
        error = stopped(self.ending, self._limit)
        if self.ending is Ending.OUT_OF_MEMORY and self.peak is not None:
            error += f": {self.peak / 2**20:.0f} MiB"
            if self.handler.memory_mb is not None:
                error += f" of {self.handler.memory_mb} MiB"
        return Outcome(self.ending, error=error, traceback=self._traceback, peak_rss=self.peak)

    def finish(self, outcome: Outcome) -> None:
        """It is over, and came to this."""
        if self.over:
            return
        for timer in self._timers:
            timer.cancel()
        if self.child is not None:
            self.child.drain()
            self.child.listener = None
        note = None if self._quota is None else self._quota.note()
        if note is not None:
            self._lines.append(note)
        self._report()
        self.over = True
        self._shared.over(self, outcome)

    def _restart(self, limit: float) -> None:
        if self.ending is None:
            self.deadline = self._shared.loop.time() + limit
            self._shared.watch(self.deadline)

    def _terminate(self) -> None:
        if self.terminated or self.child is None or self.over:
            return
        self.terminated = True
        self.child.send({"op": "stop", "now": True})
        self.child.terminate()
        grace = self._shared.grace
        self._later(grace.memory if self.ending is Ending.OUT_OF_MEMORY else grace.term, self._kill)

    def _kill(self) -> None:
        if self.child is not None:
            self._work(self.child.kill())
            self._later(KILL_TIMEOUT, self._abandon)

    def _abandon(self) -> None:
        """Not even KILL ends it: it hangs in the kernel, on a dead network disk for one."""
        if not self.over:
            outcome = self._stopped()
            self.finish(replace(outcome, error=f"{outcome.error}; its process does not even end when killed"))

    def _later(self, seconds: float, act: Any) -> None:
        self._timers += (self._shared.loop.call_later(seconds, act),)

    # -- what it asks for -----------------------------------------------------------------------------------------

    async def _apply(self, message: Message) -> None:
        try:
            value = await self._shared.loop.run_in_executor(
                self._shared.effects, self._reports.apply, self.task.lease, message["effect"], message["rows"]
            )
            self._say({"answer": message["ask"], "value": value})
        except (LeaseLost, DatabaseUnavailable) as error:
            self._say({"answer": message["ask"], "kind": type(error).__name__, "error": str(error)})
        except Exception as error:  # noqa: BLE001  the effect is the handler's code: it is told there
            said = codec.clean_text(error, codec.ERROR_MAX_BYTES)
            self._say({"answer": message["ask"], "kind": "", "error": f"{class_name(error)}: {said}"})

    def _say(self, message: Message) -> None:
        if self.child is not None and not self.over:
            self.child.send(message)

    def _keep(self, line: LogLine) -> None:
        if not self._lines:
            self._shared.loop.call_later(LINES_EVERY, self._report)
        self._lines.append(line)

    def _report(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._reports.logs(self.task.lease, lines)

    def _work(self, work: Any) -> None:
        task = self._shared.loop.create_task(work)
        self._shared.works.add(task)
        task.add_done_callback(self._shared.works.discard)

    def _output(self) -> Quota:
        self._quota = self._quota or Quota("output")
        return self._quota


def _outcome(told: dict[str, Any]) -> Outcome:
    told["ending"] = Ending(told["ending"])
    if "effects" in told:
        told["effects"] = tuple((name, rows) for name, rows in told["effects"])
    return Outcome(**told)


def _suspects(count: int, told: str) -> str:
    return (
        f"; it held {count} thread{'s' * (count > 1)} that earlier tasks left running, which may have ended it: {told}"
    )


def _death(code: int) -> str:
    if code >= 0:
        return f"exit code {code} before its handler had come to an end"
    if -code == signal.SIGKILL:
        return "signal 9 (SIGKILL), which was not ours: somebody's, or the kernel's for want of memory"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
