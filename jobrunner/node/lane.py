"""Outcomes on their way into the database: gathered, written in batches, and again until the database took them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
    there is anything to write although no outcome waits.
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
        self._changed = asyncio.Event()
        self._enough = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._written_at = 0.0
        self._busy = False
        self._closing = False

    def add(self, task: Task, outcome: Outcome, *, at_once: bool = False) -> None:
        """Write this outcome soon; ``at_once`` waits for no other."""
        if not self._waiting:
            self._changed.set()
        self._waiting.append((task, outcome))
        if at_once or len(self._waiting) >= BATCH:
            self._enough.set()

    def idle(self) -> bool:
        """Whether everything is written."""
        return not self._waiting and not self._busy

    def close(self) -> None:
        """Stop once what waits is written."""
        self._closing = True
        self._changed.set()
        self._enough.set()

    async def run(self) -> None:
        """Write until closed. An outage is waited out: the lease is renewed, or the token refuses us at the end."""
        pause = RETRY_FIRST
        while not (self._closing and self.idle()):
            if not self._waiting:
                await self._change()
                if not self._waiting and not self._more():
                    continue
            await self._gather()
            again = await self._write()
            if again:
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_CAP)
            else:
                pause = RETRY_FIRST
        self._thread.shutdown(wait=False)

    async def _change(self) -> None:
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), self._tick)
        except TimeoutError:
            return

    async def _gather(self) -> None:
        rest = self._written_at + GATHER - time.monotonic()
        if rest > 0 and len(self._waiting) < BATCH and not self._closing and not self._enough.is_set():
            timer = asyncio.get_running_loop().call_later(rest, self._enough.set)
            await self._enough.wait()
            timer.cancel()
        self._enough.clear()

    async def _write(self) -> bool:
        """Write one batch; True where something of it must be tried again."""
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        self._busy = True
        self._written_at = time.monotonic()
        try:
            fates, again = await asyncio.get_running_loop().run_in_executor(self._thread, self._record, batch)
            self._waiting += again
            for task, outcome, status in fates:
                self._recorded(task, outcome, status)
            return bool(again)
        except DatabaseUnavailable as error:
            log.debug("outcomes cannot be recorded", error=str(error))
            self._waiting = batch + self._waiting
            return True
        finally:
            self._busy = False
