"""A look at what runs, once a second, from within the worker's loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from jobrunner.execution import interpreter
from jobrunner.execution.pool import Pool
from jobrunner.logs import get_logger
from jobrunner.node.feed import Feed
from jobrunner.node.host import Host
from jobrunner.node.state import State
from jobrunner.queue.task import Ending

EVERY = 1.0  # seconds between two looks
STALLED = 3.0  # seconds without a sign of life after which a loop is taken for held

log = get_logger(__name__)


class Watch:
    """Too much memory ends the greediest child, stuck slots are shown, those of an idle worker get warm, and what waits
    for one in vain goes back."""

    def __init__(self, feeds: Sequence[Feed], state: State, host: Host, max_memory_mb: float | None) -> None:
        self._feeds = feeds
        self._pools: Sequence[Pool] = [feed.pool for feed in feeds]
        self._state = state
        self._host = host
        self._max_memory_mb = max_memory_mb
        self._last_look = time.monotonic()

    def stalled(self) -> bool:
        """Whether a handler holds the loop: it gives a sign of life each second. Safe in any thread."""
        return time.monotonic() - self._last_look > STALLED

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._last_look = time.monotonic()
            await asyncio.sleep(EVERY)
            for feed in self._feeds:
                feed.thin()
            self._state.stuck_in = tuple(pool.stuck() for pool in self._pools)
            if not self._state.running:
                for pool in self._pools:
                    pool.warm()
                continue
            try:
                await self._look_at_memory()
            except Exception:  # a look at /proc that failed once must not end all later ones
                if interpreter.ends():
                    return
                log.exception("memory cannot be looked at")

    async def _look_at_memory(self) -> None:
        if self._max_memory_mb is None or await self._used_mb() <= self._max_memory_mb:
            return
        for pool in self._pools:
            greediest = await pool.greediest()  # one that grew since the last sample is the likeliest culprit
            if greediest is None:
                continue
            used_mb = await self._used_mb()  # again: whom the last look ended may be gone only now, and is enough
            if used_mb > self._max_memory_mb:
                log.warning("out of memory", used_mb=int(used_mb), max_memory_mb=self._max_memory_mb)
                pool.stop(greediest, Ending.OUT_OF_MEMORY)
            return

    async def _used_mb(self) -> float:
        rss = await asyncio.to_thread(self._host.rss)
        self._state.figures = replace(self._state.figures, rss=rss)
        return rss / 2**20
