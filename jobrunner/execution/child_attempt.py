"""One attempt in a child process, as the worker sees it: its deadline, its end by force, its Outcome."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from jobrunner.errors import DatabaseUnavailable, LeaseLost
from jobrunner.execution.attempt import class_name, stopped
from jobrunner.execution.pool import Grace, Reports
from jobrunner.execution.process import START_TIMEOUT, Child, Exit
from jobrunner.execution.quota import Quota
from jobrunner.execution.wire import Message
from jobrunner.handlers.declare import Handler
from jobrunner.queue import codec
from jobrunner.queue.task import Ending, LogLine, Outcome, Task
from jobrunner.text import mask

KILL_TIMEOUT = 10.0  # seconds from KILL to the end of our patience
LINES_EVERY = 0.2  # seconds between two reports of what a child wrote
_FACTS = attrgetter(*(field.name for field in dataclasses.fields(Task)[1:]))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ChildAttempt:
    """Listens to a child from the message that starts a handler to the one that ends it, or to the child's death.

    ``done`` holds the Outcome. Stages of an end by force: ask, TERM, KILL.
    """

    def __init__(
        self, task: Task, handler: Handler, reports: Reports, limit: float, grace: Grace, effects: Executor
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.task = task
        self.handler = handler
        self._reports = reports
        self._limit = limit
        self._grace = grace
        self._effects = effects
        self._quota = Quota("output")
        self._lines: list[LogLine] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._traceback: str | None = None
        self._works: set[asyncio.Task[None]] = set()
        self.done: asyncio.Future[Outcome] = self._loop.create_future()
        self.child: Child | None = None
        self._wishes: set[Ending] = set()
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
        """Begin to end it. The first call says why; one for another reason goes on to the next stage at once."""
        if self.done.done() or ending in self._wishes:
            return
        self._wishes.add(ending)
        hurry = self.ending is not None or ending not in (Ending.CANCELLED, Ending.RELEASED)
        self.ending = self.ending or ending
        if self.child is None:
            self._finish(self._stopped())
        elif self.terminated:
            self._kill()
        elif hurry:
            self._terminate()
        else:
            self.child.send({"op": "stop"})
            self._later(self._grace.ask, self._terminate)

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
            case "url":
                self._say({"answer": message["ask"], "url": self._reports.database_url})

    def line(self, stream: str, text: str) -> None:
        """It wrote a line to stdout or stderr."""
        kept = self._quota.admit(LogLine(datetime.now(UTC), stream, text))
        if kept is not None:
            self._keep(kept)

    def dropped(self, lines: int) -> None:
        """It wrote lines that nobody wants any more."""
        self._quota.drop(lines)

    def full(self) -> bool:
        """Whether it wrote enough."""
        return self._quota.spent

    def ended(self, how: Exit) -> None:
        """The child is gone, and everything that it started."""
        if self.done.done():
            return
        if self.child is not None and (self.peak is None or how.peak_rss > self.child.peak_rss):
            self.peak = max(self.peak or 0, how.peak_rss)
        if self.ending is not None:
            outcome = self._stopped()
        else:
            error = how.fault or f"its process died: {_death(how.code)}"
            words = mask(codec.clean_text(how.stderr, codec.TRACEBACK_MAX_BYTES)) or None
            outcome = Outcome(Ending.CRASHED, error=error, traceback=words, peak_rss=self.peak)
        if how.code < 0:
            self._finish(replace(outcome, exit_signal=-how.code))
        else:
            self._finish(replace(outcome, exit_code=how.code))

    # -- how it ends ----------------------------------------------------------------------------------------------

    def _ended(self, message: Message) -> None:
        outcome = Outcome(**_outcome(message["outcome"]))
        child = self.child
        if child is None or self.done.done():
            return
        if message["peak"] > child.peak_rss:
            child.peak_rss = message["peak"]
            self.peak = max(self.peak or 0, message["peak"])
        child.condemned = child.condemned or message["worn"]  # what it started runs on, or it cannot print
        if self.ending is not None and not outcome.settled:
            if self.ending is Ending.RELEASED and outcome.ending is Ending.COMPLETED and not message["asked"]:
                self._finish(outcome)
                return
            self._traceback = outcome.traceback
            if self.terminated:  # an exception was thrown into its middle: it is not used again, and its end awaited
                self._kill()
                return
            outcome = self._stopped()
        elif outcome.ending is not Ending.COMPLETED:
            outcome = replace(outcome, peak_rss=max(self.peak or 0, message.get("now", 0)) or None)
        self._finish(outcome)

    def _stopped(self) -> Outcome:
        assert self.ending is not None
        error = stopped(self.ending, self._limit)
        if self.ending is Ending.OUT_OF_MEMORY and self.peak is not None:
            error += f": {self.peak / 2**20:.0f} MiB"
            if self.handler.memory_mb is not None:
                error += f" of {self.handler.memory_mb} MiB"
        return Outcome(self.ending, error=error, traceback=self._traceback, peak_rss=self.peak)

    def _finish(self, outcome: Outcome) -> None:
        for timer in self._timers:
            timer.cancel()
        if self.child is not None:
            self.child.drain()
            self.child.listener = None
        note = self._quota.note()
        if note is not None:
            self._keep(note)
        self._report()
        self.done.set_result(outcome)

    def _restart(self, limit: float) -> None:
        if self.ending is None:
            for timer in self._timers:
                timer.cancel()
            self._timers = [self._loop.call_later(limit, self.stop, Ending.TIMEOUT)]

    def _terminate(self) -> None:
        if self.terminated or self.child is None or self.done.done():
            return
        self.terminated = True
        self.child.send({"op": "stop", "now": True})
        self.child.terminate()
        self._later(self._grace.memory if self.ending is Ending.OUT_OF_MEMORY else self._grace.term, self._kill)

    def _kill(self) -> None:
        if self.child is not None:
            self._work(self.child.kill())
            self._later(KILL_TIMEOUT, self._abandon)

    def _abandon(self) -> None:
        """Not even KILL ends it: it hangs in the kernel, on a dead network disk for one."""
        if not self.done.done():
            outcome = self._stopped()
            self._finish(replace(outcome, error=f"{outcome.error}; its process does not even end when killed"))

    def _later(self, seconds: float, act: Any) -> None:
        self._timers.append(self._loop.call_later(seconds, act))

    # -- what it asks for -----------------------------------------------------------------------------------------

    async def _apply(self, message: Message) -> None:
        try:
            value = await self._loop.run_in_executor(
                self._effects, self._reports.apply, self.task.lease, message["effect"], message["rows"]
            )
            self._say({"answer": message["ask"], "value": value})
        except (LeaseLost, DatabaseUnavailable) as error:
            self._say({"answer": message["ask"], "kind": type(error).__name__, "error": str(error)})
        except Exception as error:  # noqa: BLE001  the effect is the handler's code: it is told there
            said = codec.clean_text(error, codec.ERROR_MAX_BYTES)
            self._say({"answer": message["ask"], "kind": "", "error": f"{class_name(error)}: {said}"})

    def _say(self, message: Message) -> None:
        if self.child is not None and not self.done.done():
            self.child.send(message)

    def _keep(self, line: LogLine) -> None:
        if not self._lines and not self.done.done():
            self._loop.call_later(LINES_EVERY, self._report)
        self._lines.append(line)

    def _report(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._reports.logs(self.task.lease, lines)

    def _work(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)


def _outcome(told: dict[str, Any]) -> dict[str, Any]:
    effects = tuple((name, rows) for name, rows in told.pop("effects", ()))
    return {**told, "ending": Ending(told["ending"]), "effects": effects}


def _death(code: int) -> str:
    if code >= 0:
        return f"exit code {code} before its handler had come to an end"
    if -code == signal.SIGKILL:
        return "signal 9 (SIGKILL), which was not ours: somebody's, or the kernel's for want of memory"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
