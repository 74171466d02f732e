"""claim -> execute -> settle: the loop of a worker."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database
from jobrunner.execution.attempt import failed, owned, with_delay
from jobrunner.execution.pool import Pool
from jobrunner.handlers import Handler, run_hooks
from jobrunner.logs import get_logger
from jobrunner.node.admission import refusal
from jobrunner.node.claims import Claims, Found
from jobrunner.node.feed import Feed
from jobrunner.node.held import Held, Holding
from jobrunner.node.host import Host
from jobrunner.node.looking import Source
from jobrunner.node.reports import Gathered
from jobrunner.node.settler import Settler
from jobrunner.node.state import Identity, State
from jobrunner.node.watch import Watch
from jobrunner.queue.store import Renewal
from jobrunner.queue.task import ENDED, Ending, Lease, Outcome, Status, Task

RELEASE_DEADLINE = 10.0  # seconds for giving back what did not end within the grace

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

    Everything but :meth:`drain`, :meth:`rest`, :meth:`wake`, :meth:`heard_of_work` and :meth:`renewed` belongs to the
    loop that runs :meth:`run`.
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
        ends: Ends | None = None,
    ) -> None:
        self._identity = identity
        self._state = state
        self._held = held
        self._host = host
        self._pools = pools
        self._handlers = handlers
        self._limits = limits
        self._ends = ends or Ends()
        self._feeds = tuple(self._feed(pool, alone=database.is_sqlite) for pool in pools)
        self._watch = Watch(self._feeds, state, host, limits.max_memory_mb)
        of_kind = {feed.pool.kind: feed for feed in self._feeds}
        self._feed_of = {name: of_kind[handler.kind] for name, handler in handlers.items()}
        self._reports = Gathered(database)
        self._settler = Settler(database, self._reports, self._ends, self._recorded, self._failed)
        source = Source(identity.id, limits.queues, limits.lease_seconds)
        self._claims = Claims(
            database, source, self._feeds, tuple(handlers), held.arrive, most=1 if limits.once else None
        )
        self._in_hand = 0  # claimed, and not yet at an end
        self._idle = asyncio.Event()  # nothing is in hand
        self._idle.set()
        self._wakeup = asyncio.Event()
        self._poll_at = 0.0
        self._tells_all = log.isEnabledFor(logging.DEBUG)  # asked once: a line that is dropped costs 2 µs a task
        self._hurry = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._starting = threading.Lock()
        self._draining = ""
        self._rests = False  # somebody had this node claim nothing, until it may again
        self._last_work = time.monotonic()
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
        watching = asyncio.create_task(self._watch.run())
        try:
            while not self._draining and not settling.done():
                await self._claim()
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
        self._claims.stop()  # now: a handler may hold the loop for as long as the process lives
        self._call(self._begin_drain, reason, hurry)

    def wake(self) -> None:
        """There may be work: look now."""
        self._call(self._look_again)

    def heard_of_work(self) -> None:
        """The same for a thread that may wait for the database: where the worker is idle, it claims by itself."""
        if self._rests or self.stalled() or not self._claims.fulfil(partial(self._call, self._accept)):
            self.wake()

    def unrecorded(self) -> list[Task]:
        """The tasks whose attempts came to an end of their own that is not in the database yet."""
        waiting = self._settler.unrecorded()
        return [task for task, outcome in waiting if outcome.ending is not Ending.RELEASED]

    def stalled(self) -> bool:
        """Whether a handler holds the loop, so that nothing in it can be begun or asked to end."""
        return self._watch.stalled()

    def renewed(self, renewal: Renewal) -> None:
        """What a renewal found: lost tasks are stopped and dropped, cancelled ones asked to end."""
        self._call(self._stop_all, renewal)

    def rest(self, rests: bool) -> None:
        """Claim nothing while what runs goes on, or claim again; the process stays."""
        self._rests = rests  # now: who hears of work asks before he claims
        self._call(self._look_again)

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
            unrecorded = len(self.unrecorded())
            log.info("draining", reason=reason, running=self._state.running, unrecorded=unrecorded)
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
        holding.lost = holding.lost or ending is Ending.LOST
        if holding.pool.stop(lease.id, ending):
            log.info("stopping an attempt", task_id=holding.task.task_id, why=ending)

    # -- running --------------------------------------------------------------------------------------------------

    async def _claim(self) -> None:
        """Take what there is room for and start it; where that is all there is, wait for a reason to look again."""
        self._wakeup.clear()
        refused = self._refused()
        more = not refused and await self._claims.look(self._take, everywhere=self._poll_is_due())
        await asyncio.sleep(0)  # so that handlers get a turn
        if not more:
            await self._pause(refused)

    def _accept(self, found: Found) -> None:
        self._claims.accept(found, self._take)
        self._wakeup.set()

    def _poll_is_due(self) -> bool:
        # By the clock and not after so much quiet: one kind that is always busy would leave the others unpolled.
        moment = time.monotonic()
        if moment < self._poll_at and self._claims.until_full() > 0:
            return False
        self._poll_at = moment + self._limits.poll_interval
        return True

    def _refused(self) -> bool:
        reason = refusal(
            self._state.figures,
            running=len(self._held),
            cpu_mean=self._host.cpu_mean(),
            max_memory_mb=self._limits.max_memory_mb,
            max_cpu_percent=self._limits.max_cpu_percent,
        )
        if not self._draining:
            stuck = f"{self._state.stuck} handlers ignored their time-out" if self._state.stuck else None
            resting = "told to claim nothing until it is resumed" if self._rests else None
            self._state.state = "draining" if resting else "overloaded" if reason else "stuck" if stuck else "active"
            self._state.reason = resting or reason or stuck
        return self._rests or reason is not None

    def _feed(self, pool: Pool, *, alone: bool) -> Feed:
        types = tuple(handler.name for handler in self._handlers.values() if handler.kind == pool.kind)
        return Feed(pool, types, self._begin, self._ended, alone=alone)

    def _take(self, claimed: Sequence[Task]) -> None:
        for task in claimed:
            feed = self._feed_of[task.task_type]
            holding = Holding(task, feed)
            if self._held.add(holding):
                self._in_hand += 1
                feed.offer(holding)
            elif self._held.line_up(task):
                self._in_hand += 1  # it goes to be tried again, and the hint was quicker than the word of its record
            else:
                # An earlier attempt of it is still being ended here; two of one task in one process would be too many.
                again = Outcome(Ending.RELEASED, error="its earlier attempt still ends here", delay=1.0)
                self._settler.add(task, again)
        self._held.arrived(claimed)
        if self._in_hand:
            self._idle.clear()
        for feed in self._feeds:
            feed.fill()

    def _begin(self, holding: Holding) -> None:
        task = holding.task
        holding.began = time.monotonic()
        self._state.running += 1
        self._feed_of[task.task_type].pool.begin(task, self._handlers[task.task_type], self._reports, self._done)

    def _done(self, task: Task, outcome: Outcome) -> None:
        """An attempt has ended: its slot is free, and what it came to is to be recorded."""
        self._state.running -= 1
        try:
            holding = self._held.get(task.lease.id)
            if holding is not None and holding.began is not None:
                self._state.busy_seconds += time.monotonic() - holding.began
            self._ended(task, outcome)
            feed = self._feed_of[task.task_type]
            feed.ended()
            if not feed.dry and feed.low():
                self._wakeup.set()
        except Exception as error:
            log.exception("an attempt broke the worker", task_id=task.task_id, error=repr(error))
            self.exit_code = 1
            self._begin_drain("an internal error", hurry=False)

    def _ended(self, task: Task, outcome: Outcome) -> None:
        self._in_hand -= 1
        if not self._in_hand:
            self._last_work = time.monotonic()
            self._idle.set()
            self._wakeup.set()
        holding = None if outcome.ending is Ending.COMPLETED else self._held.get(task.lease.id)
        if holding is not None:
            holding.over = True
        if outcome.ending is Ending.LOST and (holding is None or holding.lost):
            self._recorded(task, outcome, None)
        elif outcome.ending is Ending.LOST:
            self._settler.add(task, with_delay(owned(outcome), task, self._handlers[task.task_type]))
        elif outcome.settled:
            self._recorded(task, outcome, Status.COMPLETED)
        else:
            self._settler.add(task, outcome, at_once=self._handlers[task.task_type].settle == "at once")

    def _failed(self, task: Task, error: Exception) -> Outcome:
        """What an attempt came to whose effects failed: the same as if its handler had raised this."""
        return with_delay(owned(failed(error)), task, self._handlers[task.task_type])

    def _recorded(self, task: Task, outcome: Outcome, status: Status | None) -> None:
        lease = task.lease
        again = self._held.drop(lease)
        if self._claims.limits(task.queue):
            self._look_again()
        if self._ends.watched and status in ENDED:
            self._ends.ended([task.task_id])
        if status is Status.COMPLETED:
            self._state.completed += 1
            if self._tells_all:
                log.debug("task completed", task_id=task.task_id, attempt=lease.attempt)
        else:
            told = {"task_id": task.task_id, "attempt": lease.attempt, "ending": outcome.ending}
            if status is None:
                log.warning("late outcome refused: the task has a new owner, or it ended", **told)
            else:
                self._state.failed += status is Status.FAILED
                log.info("attempt ended", status=status, error_class=outcome.error_class, error=outcome.error, **told)
        if again is not None:
            if self._draining:
                self._ended(again, Outcome(Ending.RELEASED, error="its worker stops"))
            else:
                self._in_hand -= 1
                self._take([again])
        if not self._in_hand:
            self._wakeup.set()

    # -- ending ---------------------------------------------------------------------------------------------------

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
        return self._in_hand > 0 or not self._settler.idle()

    async def _pause(self, refused: bool) -> None:
        """Wait for a hint, a free slot or the next poll; first make sure that there is anything to wait for."""
        if self._limits.until_empty and not self._busy() and await self._claims.nothing_left():
            self._begin_drain("nothing is left", hurry=False)
            return
        if refused:
            rest = self._limits.poll_interval
        else:
            rest = min(self._poll_at - time.monotonic(), self._claims.until_next())
            self._claims.stand_by()
        timer = asyncio.get_running_loop().call_later(max(0.0, rest), self._wakeup.set)
        await self._wakeup.wait()
        timer.cancel()
        await self._claims.withdraw()

    def _look_again(self) -> None:
        self._claims.hear()
        self._wakeup.set()

    async def _drain(self) -> None:
        """Let what runs come to its end within the grace; give back the rest, uncharged, and at once what waits."""
        for feed in self._feeds:
            feed.give_back()
        if not await self._ended_within(self._limits.grace, or_hurried=True):
            for holding in self._held.all():
                holding.pool.stop(holding.task.lease.id, Ending.RELEASED)
            await self._ended_within(RELEASE_DEADLINE)

    async def _ended_within(self, seconds: float, *, or_hurried: bool = False) -> bool:
        """Wait until no attempt runs; False where that did not come in time, or somebody hurries us."""
        awaited = [asyncio.create_task(self._idle.wait())]
        if or_hurried:
            awaited.append(asyncio.create_task(self._hurry.wait()))
        await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in awaited:
            one.cancel()
        return self._idle.is_set()
