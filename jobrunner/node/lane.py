"""Outcomes on their way into the database: gathered, written in batches, and again until the database took them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.queue.task import Outcome, Status, Task

BATCH = 500
GATHER = 0.005  # seconds from one write to the next: the first outcome is written at once, those behind it together
RETRY_FIRST, RETRY_CAP = 0.1, 2.0  # seconds

Settlement = tuple[Task, Outcome]
Fate = tuple[Task, Outcome, Status | None]  # the status is None where the settle was refused

log = get_logger(__name__)


class Lane:
    """One thread that writes outcomes, and the outcomes that wait for it. All calls belong to the worker's loop.

    ``record`` runs in the thread: it returns what became of a batch, and what of it must be tried again, or raises
    DatabaseUnavailable. ``recorded`` hears each fate in the loop. ``more`` is asked every ``tick`` seconds whether
    there is anything to write although no outcome waits. Nothing is awaited between an end and its write: a coroutine
    there took 0.2 ms of each round trip.
    """

    def __init__(
        self,
        name: str,
        record: Callable[[list[Settlement]], tuple[list[Fate], list[Settlement]]],
        recorded: Callable[[Task, Outcome, Status | None], None],
        *,
        more: Callable[[], bool] = lambda: False,
        tick: float | None = None,
    ) -> None:
        self._record = record
        self._recorded = recorded
        self._more = more
        self._tick = tick
        self._waiting: list[Settlement] = []
        self._writing: list[Settlement] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0  # of the next write, by the loop's clock; earlier where one shall wait for no other
        self._pause = 0.0  # seconds since something had to be tried again, while it is
        self._at_once = False
        self._busy = False
        self._closing = False

    def add(self, task: Task, outcome: Outcome, *, at_once: bool = False) -> None:
        """Write this outcome soon; ``at_once`` waits for no other."""
        self._waiting.append((task, outcome))
        self._at_once = self._at_once or at_once
        if not self._busy and (self._timer is None or at_once or len(self._waiting) >= BATCH):
            self._go_on()

    def idle(self) -> bool:
        """Whether everything is written."""
        return not self._waiting and not self._busy

    def unwritten(self) -> list[Settlement]:
        """What waits, and what is being written. May be asked in any thread."""
        return [*self._writing, *self._waiting]

    def close(self) -> None:
        """Stop once what waits is written."""
        self._closing = True
        self._go_on()

    async def run(self) -> None:
        """Write until closed. An outage is waited out: the lease is renewed, or the token refuses us at the end."""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        ticking = self._loop.create_task(self._write_reports()) if self._tick else None
        try:
            self._go_on()
            await self._over
        finally:
            if ticking is not None:
                ticking.cancel()
            if self._timer is not None:
                self._timer.cancel()
            self._thread.shutdown(wait=False)

    async def _write_reports(self) -> None:
        while True:
            await asyncio.sleep(self._tick or 0)
            if not self._busy and self._more():
                self._write()

    def _go_on(self) -> None:
        """Write what waits: now, or as soon as it may be."""
        if self._busy or self._loop is None or self._over is None or self._over.done():
            return
        if not self._waiting and not (self._closing and self._more()):
            if self._closing:
                self._over.set_result(None)
            return
        hurries = self._at_once or self._closing or len(self._waiting) >= BATCH
        rest = self._next_at - self._loop.time()
        if rest <= 0 or (hurries and not self._pause):
            self._write()
        elif self._timer is None:
            self._timer = self._loop.call_later(rest, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._go_on()

    def _write(self) -> None:
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = self._writing = self._waiting[:BATCH]
        self._waiting = self._waiting[BATCH:]
        self._busy, self._at_once = True, False
        self._next_at = self._loop.time() + GATHER
        self._thread.submit(self._work, self._loop, batch)

    def _work(self, loop: asyncio.AbstractEventLoop, batch: list[Settlement]) -> None:
        fates: list[Fate] = []
        again: list[Settlement] = []
        failed = False
        broken: Exception | None = None
        try:
            fates, again = self._record(batch)
        except DatabaseUnavailable as error:
            log.debug("outcomes cannot be recorded", error=str(error))
            again, failed = batch, True
        except Exception as error:  # noqa: BLE001 - told by run
            broken = error
        with suppress(RuntimeError):  # the loop is closed: the worker did not wait for this
            loop.call_soon_threadsafe(self._written, fates, again, failed or bool(again), broken)

    def _written(self, fates: list[Fate], again: list[Settlement], failed: bool, broken: Exception | None) -> None:
        assert self._loop is not None
        assert self._over is not None
        self._busy = False
        if broken is not None:
            if not self._over.done():
                self._over.set_exception(broken)
            return
        self._waiting = again + self._waiting
        self._writing = []
        for task, outcome, status in fates:
            self._recorded(task, outcome, status)
        self._pause = min(max(2 * self._pause, RETRY_FIRST), RETRY_CAP) if failed else 0.0
        if failed:  # also where only reports waited
            self._next_at = self._loop.time() + self._pause
        self._go_on()
