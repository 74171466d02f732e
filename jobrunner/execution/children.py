"""Plain handlers in child processes: warm ones, one per slot, each of which can be ended for certain."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from collections import deque
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from jobrunner.execution import memory, warden
from jobrunner.execution.attempt import with_delay
from jobrunner.execution.child_attempt import KILL_TIMEOUT, ChildAttempt, Shared
from jobrunner.execution.deadlines import Deadlines
from jobrunner.execution.pool import TASK_TIMEOUT, Done, Grace, Pool, Reports, time_limit
from jobrunner.execution.process import Child, Program, SpawnFailed
from jobrunner.execution.sweep import sweep
from jobrunner.handlers import registry
from jobrunner.handlers.declare import Handler
from jobrunner.logs import get_logger
from jobrunner.queue.task import Ending, Outcome, Task

SAMPLE_EVERY = 0.5  # seconds between two looks at the memory of children
FIRST_TASKS = 100  # of a child, after which it has loaded what its handlers need
LEFT_THREADS = 100  # that tasks may leave in a child: a library's pool has 32 at most by default, and is no fault
GROWTH = 64 * 2**20  # bytes by which a child may always grow after those
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds without a new try after a child could not be started
_OURS = "jobrunner."  # modules that children import when a task asks for them: data_import brings all of SQLAlchemy

log = get_logger(__name__)


class ChildPool(Pool):
    """Slots that are processes. They are started when tasks need them or :meth:`warm` asks for them, and from then on
    anew, in the background, when one has ended or grown old.

    ``child_max_tasks`` is how many tasks a child runs before it is replaced, None for no limit; one whose memory has
    doubled since its first tasks is replaced before. ``environ`` is the whole environment of children; None means this
    process's, without the names in ``process.SECRETS``.
    """

    kind = "child"

    def __init__(
        self,
        slots: int,
        *,
        task_timeout: float = TASK_TIMEOUT,
        child_max_tasks: int | None = None,
        log_level: str = "INFO",
        grace: Grace | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.slots = slots
        self._task_timeout = task_timeout
        self._child_max_tasks = child_max_tasks
        self._grace = grace or Grace()
        self._log_level = log_level
        self._environ = environ
        self._name = uuid.uuid4().hex
        self._children: set[Child] = set()  # that serve
        self._alive: set[Child] = set()  # also those that are about to end
        self._idle: list[Child] = []
        self._starting = 0
        self._wanted = 0  # children that shall be there
        self._waiting: deque[ChildAttempt] = deque()
        self._attempts: dict[int, ChildAttempt] = {}
        self._held: dict[int, int] = {}  # bytes by row id, as last measured
        self._works: set[asyncio.Task[None]] = set()
        self._numbers = 0
        self._pause = 0.0
        self._paused_until = 0.0
        self._warming = False
        self._closed = False
        self._program = Program(())
        self._warden: subprocess.Popen[bytes] | None = None
        self._effects = ThreadPoolExecutor(slots, thread_name_prefix="effects")

    async def start(self) -> None:
        """Start nothing yet but the warden: a worker without plain tasks needs no children."""
        modules = [name for name in registry.modules() if not name.startswith(_OURS)]
        self._program = Program(modules, self._log_level, self._environ)
        self._deadlines = Deadlines(self._attempts.values)
        loop = asyncio.get_running_loop()
        self._shared = Shared(loop, self._grace, self._effects, self._deadlines.watch, self._over, set())
        try:
            self._warden = warden.start(f"{self._name}.")
        except OSError as error:
            log.warning("no warden: should this worker be killed, processes of its tasks may stay", error=str(error))
        self._work(self._sample())

    def warm(self, children: int | None = None) -> None:
        """Begin to start children, this many or one per slot, where there are handlers for them. Returns at once."""
        if any(handler.kind == "child" for handler in registry.handlers().values()):
            self._wanted = max(self._wanted, min(children or self.slots, self.slots))
            self._fill()

    async def close(self) -> None:
        """End every child with all that it started."""
        self._closed = True
        for attempt in tuple(self._attempts.values()):
            attempt.stop(Ending.RELEASED)
        for work in tuple(self._works):
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)
        if self._alive:
            await asyncio.wait([asyncio.create_task(child.kill()) for child in self._alive], timeout=KILL_TIMEOUT)
        self._deadlines.close()
        self._effects.shutdown(wait=False)
        if self._warden is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._warden.communicate)

    def sweep(self) -> None:
        """Kill every child with all that it started, from any thread: for a loop that answers no more."""
        sweep(f"{self._name}.")

    def free(self) -> int:
        """Slots that can take a task now; while children cannot be started, those that have one."""
        free = self.slots - len(self._attempts)
        return min(free, len(self._idle)) if time.monotonic() < self._paused_until else free

    def stuck(self) -> int:
        """None: a child that does not end is killed."""
        return 0

    async def greediest(self) -> int | None:
        """The row id of the running task whose process tree holds most memory, as measured just now."""
        await self._measure()
        return max(self._held, key=self._held.__getitem__, default=None)

    def stop(self, task_row_id: int, ending: Ending) -> bool:
        """Ask an attempt to end, then TERM, then KILL; False if none runs."""
        attempt = self._attempts.get(task_row_id)
        if attempt is None:
            return False
        attempt.stop(ending)
        return True

    def begin(self, task: Task, handler: Handler, reports: Reports, done: Done) -> None:
        """Begin one attempt in a child; ``done`` hears how it ended."""
        limit = time_limit(task, handler, self._task_timeout)
        attempt = ChildAttempt(task, handler, reports, limit, done, self._shared)
        self._attempts[task.lease.id] = attempt
        if self._closed:
            attempt.stop(Ending.RELEASED)
            return
        child = self._idle_child()
        if child is not None:
            attempt.begin(child)
            return
        self._waiting.append(attempt)
        self._wanted = min(self.slots, max(self._wanted, len(self._attempts)))
        self._fill()

    def _over(self, attempt: ChildAttempt, outcome: Outcome) -> None:
        row_id = attempt.task.lease.id
        del self._attempts[row_id]
        self._held.pop(row_id, None)
        if attempt.child is not None:
            self._give_back(attempt.child)
        elif attempt in self._waiting:
            self._waiting.remove(attempt)
        attempt.done(attempt.task, with_delay(outcome, attempt.task, attempt.handler))

    # -- children -------------------------------------------------------------------------------------------------

    def _idle_child(self) -> Child | None:
        while self._idle:
            child = self._idle.pop()
            if not child.condemned:
                return child
            self._children.discard(child)  # it is about to end: nobody else takes it off
        return None

    def _give_back(self, child: Child) -> None:
        worn_out = self._child_max_tasks is not None and child.tasks >= self._child_max_tasks
        crowded = child.left_threads > LEFT_THREADS
        if not child.condemned and not worn_out and not crowded and not _has_grown(child):
            self._offer(child)
            return
        self._children.discard(child)
        self._work(child.kill() if child.condemned else child.leave())
        self._fill()

    def _offer(self, child: Child) -> None:
        while self._waiting:
            attempt = self._waiting.popleft()
            if attempt.ending is None:
                attempt.begin(child)
                return
        self._idle.append(child)

    def _fill(self) -> None:
        """Start what tasks wait for at once, and the other missing children one after the other."""
        for _ in range(min(len(self._waiting) - self._starting, self._missing())):
            self._starting += 1
            self._work(self._start_one())
        if not self._warming and self._missing() > 0:
            self._warming = True
            self._work(self._warm_up())

    def _missing(self) -> int:
        return 0 if self._closed else self._wanted - len(self._children) - self._starting

    async def _warm_up(self) -> None:
        try:
            while self._missing() > 0 and not self._pause:
                self._starting += 1
                await self._start_one()
        finally:
            self._warming = False

    async def _start_one(self) -> None:
        self._numbers += 1
        child = Child(self._program, f"{self._name}.{self._numbers}.")
        self._alive.add(child)
        child.gone.add_done_callback(lambda _: self._lost(child))
        try:
            await child.start()
        except SpawnFailed as error:
            self._alive.discard(child)
            self._failed(error)
            return
        finally:
            self._starting -= 1
        if child.condemned:  # killed between its first word and now: a task given to it would never be heard of again
            self._failed(SpawnFailed("a child process ended as soon as it was ready"))
            return
        self._pause = 0.0
        self._children.add(child)
        self._offer(child)

    def _failed(self, error: SpawnFailed) -> None:
        log.warning("no child process", error=str(error))
        moment = time.monotonic()
        if not self._pause or moment >= self._paused_until:  # ten that were started together once made it 30 s
            self._pause = min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
            self._paused_until = moment + self._pause
        for attempt in self._waiting:
            if attempt.ending is None:
                attempt.finish(Outcome(Ending.RELEASED, error=str(error), delay=self._pause))
                return

    def _lost(self, child: Child) -> None:
        self._alive.discard(child)
        if child in self._idle:  # nobody else would notice
            if not child.tasks and not self._closed:  # one that dies at once would be started again and again
                self._failed(SpawnFailed(f"a child process ended while it was idle: {child.gone.result()}"))
            self._idle.remove(child)
            self._children.discard(child)
            self._fill()

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    # -- memory ---------------------------------------------------------------------------------------------------

    async def _sample(self) -> None:
        took = 0.0
        while True:
            await asyncio.sleep(max(SAMPLE_EVERY, took * 20))  # at most a twentieth of a processor
            begun = time.monotonic()
            await self._measure()
            took = time.monotonic() - begun

    async def _measure(self) -> None:
        running = {a.child.pid: row for row, a in self._attempts.items() if a.child is not None}
        if not running:
            return
        with suppress(OSError):  # /proc itself may be short of something
            held = await asyncio.to_thread(memory.trees, running)
            for pid, rss in held.items():
                self._measured(pid, running[pid], rss)

    def _measured(self, pid: int, row_id: int, rss: int) -> None:
        attempt = self._attempts.get(row_id)
        if attempt is not None and attempt.child is not None and attempt.child.pid == pid:
            self._held[row_id] = rss
            attempt.measured(rss)


def _has_grown(child: Child) -> bool:
    if child.tasks <= FIRST_TASKS:
        child.first_rss = child.peak_rss
        return False
    return child.peak_rss > max(2 * child.first_rss, child.first_rss + GROWTH)
