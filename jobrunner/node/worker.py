"""claim -> execute -> settle: the loop of a worker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jobrunner.db.engine import Database
from jobrunner.execution.pool import Pool
from jobrunner.handlers import Handler, run_hooks
from jobrunner.logs import get_logger
from jobrunner.node.admission import refusal
from jobrunner.node.claims import Claims, Source
from jobrunner.node.held import Held, Holding
from jobrunner.node.host import Host
from jobrunner.node.reports import Gathered
from jobrunner.node.settler import Settler
from jobrunner.node.state import Identity, State
from jobrunner.queue.store import Renewal
from jobrunner.queue.task import Ending, Lease, Outcome, Status, Task

RELEASE_DEADLINE = 15.0  # seconds for giving back what did not end within the grace

log = get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """How a worker works: durations in seconds, ``queues`` None for every queue."""

    queues: tuple[str, ...] | None
    lease_seconds: float
    poll_interval: float
    grace: float
    max_memory_mb: float | None
    max_cpu_percent: float | None
    once: bool = False
    until_empty: bool = False
    idle_timeout: float | None = None


class Worker:
    """Claims what its pools have slots for, runs it, and records how it ended.

    Everything but :meth:`drain`, :meth:`wake` and :meth:`renewed` belongs to the loop that runs :meth:`run`.
    """

    def __init__(
        self,
        database: Database,
        identity: Identity,
        state: State,
        held: Held,
        host: Host,
        pools: Sequence[Pool],
        handlers: dict[str, Handler],
        limits: Limits,
    ) -> None:
        self._identity = identity
        self._state = state
        self._held = held
        self._host = host
        self._pools = pools
        self._handlers = handlers
        self._limits = limits
        self._reports = Gathered(database)
        self._settler = Settler(database, self._reports, self._recorded)
        source = Source(identity.id, limits.queues, limits.lease_seconds)
        self._claims = Claims(database, source, pools, handlers, most=1 if limits.once else None)
        self._running: set[asyncio.Task[None]] = set()
        self._wakeup = asyncio.Event()
        self._hurry = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._starting = threading.Lock()
        self._draining = ""
        self._last_work = self._last_sign = time.monotonic()
        self.exit_code = 0

    async def run(self) -> None:
        """Work until told to drain, or until there is nothing left where the limits say so."""
        with self._starting:
            self._loop = asyncio.get_running_loop()
        for act, args in self._early:
            act(*args)
        await run_hooks("start")
        for pool in self._pools:
            await pool.start()
        settling = asyncio.create_task(self._settler.run())
        watching = asyncio.create_task(self._watch())
        try:
            while not self._draining and not settling.done():
                if not await self._claim():
                    await self._pause()
                self._notice()
            await self._drain()
        finally:
            self._settler.close()
            await asyncio.wait([settling], timeout=RELEASE_DEADLINE)
            for pool in self._pools:
                await pool.close()
            self._claims.close()
            await run_hooks("stop")
            watching.cancel()
        if settling.done():
            settling.result()

    # -- what other threads may call ------------------------------------------------------------------------------

    def drain(self, reason: str, *, hurry: bool = False) -> None:
        """Stop claiming and end in good order; ``hurry`` gives back at once what still runs."""
        self._call(self._begin_drain, reason, hurry)

    def wake(self) -> None:
        """There may be work: look now."""
        self._call(self._wakeup.set)

    def silent_for(self) -> float:
        """Seconds since the loop gave its last sign of life; there is one a second."""
        return time.monotonic() - self._last_sign

    def renewed(self, renewal: Renewal) -> None:
        """What a renewal found: lost tasks are stopped and dropped, cancelled ones asked to end."""
        self._call(self._stop_all, renewal)

    def _call(self, act: Callable[..., None], *args: object) -> None:
        with self._starting:
            if self._loop is None:  # a signal may come before the loop runs
                self._early.append((act, args))
            elif not self._loop.is_closed():
                self._loop.call_soon_threadsafe(act, *args)

    def _begin_drain(self, reason: str, hurry: bool) -> None:
        if not self._draining:
            self._draining = reason
            self._claims.stop()
            self._state.state, self._state.reason = "draining", reason
            log.info("draining", reason=reason, running=len(self._running))
        if hurry:
            self._hurry.set()
        self._wakeup.set()

    def _stop_all(self, renewal: Renewal) -> None:
        for lease in renewal.lost:
            self._stop(lease, Ending.LOST)
        for lease in renewal.cancelled:
            self._stop(lease, Ending.CANCELLED)

    def _stop(self, lease: Lease, ending: Ending) -> None:
        holding = self._held.get(lease.id)
        if holding is None or holding.task.lease != lease:  # settled since, and perhaps claimed anew
            return
        if holding.pool.stop(lease.id, ending):
            log.info("stopping an attempt", task_id=holding.task.task_id, why=ending)

    # -- running --------------------------------------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Take what there are slots for and start it; True when a second look may find more."""
        self._wakeup.clear()
        if self._refused():
            return False
        more = await self._claims.look(self._start)
        await asyncio.sleep(0)  # so that they take their slots before the free ones are counted again
        return more

    def _refused(self) -> bool:
        reason = refusal(
            self._state.figures,
            running=len(self._running),
            cpu_mean=self._host.cpu_mean(),
            max_memory_mb=self._limits.max_memory_mb,
            max_cpu_percent=self._limits.max_cpu_percent,
        )
        if not self._draining:
            stuck = f"{self._state.stuck} handlers ignored their time-out" if self._state.stuck else None
            self._state.state = "overloaded" if reason else "stuck" if stuck else "active"
            self._state.reason = reason or stuck
        return reason is not None

    def _start(self, task: Task, pool: Pool) -> None:
        if not self._held.add(Holding(task, pool)):
            # An earlier attempt of it is still being ended here; two of one task in one process would be one too many.
            self._settler.add(task, Outcome(Ending.RELEASED, error="its earlier attempt still ends here", delay=1.0))
            return
        running = asyncio.create_task(self._run(task, pool))
        self._running.add(running)
        running.add_done_callback(self._ended)
        self._state.running = len(self._running)

    async def _run(self, task: Task, pool: Pool) -> None:
        started = time.monotonic()
        outcome = await pool.run(task, self._handlers[task.task_type], self._reports)
        self._state.busy_seconds += time.monotonic() - started
        if outcome.ending is Ending.LOST:
            self._recorded(task, outcome, None)
        elif outcome.settled:
            self._recorded(task, outcome, Status.COMPLETED)
        else:
            self._settler.add(task, outcome)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._state.running = len(self._running)
        self._last_work = time.monotonic()
        self._wakeup.set()
        if not running.cancelled() and running.exception() is not None:
            log.error("an attempt broke the worker", error=repr(running.exception()))
            self.exit_code = 1
            self._begin_drain("an internal error", hurry=False)

    def _recorded(self, task: Task, outcome: Outcome, status: Status | None) -> None:
        self._held.drop(task.lease)
        told = {"task_id": task.task_id, "attempt": task.lease.attempt, "ending": outcome.ending}
        if status is None:
            log.warning("late outcome refused: the task has a new owner, or it ended", **told)
        elif status is Status.COMPLETED:
            self._state.completed += 1
            log.debug("task completed", **told)
        else:
            self._state.failed += status is Status.FAILED
            log.info("attempt ended", status=status, error=outcome.error, **told)
        self._wakeup.set()

    # -- watching and ending --------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Once a second: memory that passed the node's limit ends the greediest child; stuck slots are shown."""
        while True:
            self._last_sign = time.monotonic()
            await asyncio.sleep(1.0)
            self._state.stuck = sum(pool.stuck() for pool in self._pools)
            try:
                await self._watch_memory()
            except Exception:  # a look at /proc that failed once must not end all later ones
                log.exception("memory cannot be looked at")

    async def _watch_memory(self) -> None:
        limit = self._limits.max_memory_mb
        if limit is None or not self._running:
            return
        rss = await asyncio.to_thread(self._host.rss)
        self._state.figures = replace(self._state.figures, rss=rss)
        if rss / 2**20 > limit:
            await self._end_greediest(rss)

    async def _end_greediest(self, rss: int) -> None:
        for pool in self._pools:
            greediest = await pool.greediest()  # one that grew since the last sample is the likeliest culprit
            if greediest is not None:
                log.warning("out of memory", used_mb=rss >> 20, max_memory_mb=self._limits.max_memory_mb)
                pool.stop(greediest, Ending.OUT_OF_MEMORY)
                return

    def _notice(self) -> None:
        """Begin to drain where the limits, or slots that are all stuck, say so."""
        if any(pool.stuck() >= pool.slots for pool in self._pools):
            self.exit_code = 1
            self._begin_drain("all slots are stuck", hurry=False)
        busy = self._busy()
        if self._limits.once and self._claims.made and not busy:
            self._begin_drain("one task was run", hurry=False)
        idle_for = time.monotonic() - self._last_work
        if self._limits.idle_timeout is not None and not busy and idle_for >= self._limits.idle_timeout:
            self._begin_drain("idle", hurry=False)

    def _busy(self) -> bool:
        return bool(self._running) or not self._settler.idle()

    async def _pause(self) -> None:
        """Wait for a hint, a free slot or the next poll; first make sure that there is anything to wait for."""
        if (
            self._limits.until_empty
            and not self._running
            and self._settler.idle()
            and await self._claims.nothing_left()
        ):
            self._begin_drain("nothing is left", hurry=False)
            return
        try:
            await asyncio.wait_for(self._wakeup.wait(), self._limits.poll_interval)
        except TimeoutError:
            return

    async def _drain(self) -> None:
        """Let what runs come to its end within the grace; give back the rest, uncharged."""
        deadline = time.monotonic() + self._limits.grace
        hurried = asyncio.create_task(self._hurry.wait())
        while self._running and not hurried.done() and time.monotonic() < deadline:
            left = deadline - time.monotonic()
            await asyncio.wait([*self._running, hurried], timeout=left, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        for holding in self._held.all():
            holding.pool.stop(holding.task.lease.id, Ending.RELEASED)
        if self._running:
            await asyncio.wait(self._running, timeout=RELEASE_DEADLINE)
