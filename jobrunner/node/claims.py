"""Claiming: what the pools have slots for, unless the node is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.execution.pool import Pool
from jobrunner.handlers import Handler
from jobrunner.logs import get_logger
from jobrunner.queue import store, views
from jobrunner.queue.task import Task
from jobrunner.settings.failpoints import hit

OUTAGE_PAUSE = 1.0  # seconds between claims while the database is away

log = get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a node takes its tasks from: ``queues`` None means every queue; the lease in seconds."""

    node_id: str
    queues: tuple[str, ...] | None
    lease_seconds: float


class Claims:
    """Asks the database for work, in a thread of its own."""

    def __init__(
        self, database: Database, source: Source, pools: Sequence[Pool], handlers: dict[str, Handler], most: int | None
    ) -> None:
        self._database = database
        self._source = source
        self._types = list(handlers)
        self._pools = [(pool, [h.name for h in handlers.values() if h.kind == pool.kind]) for pool in pools]
        self._left = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="claim")
        self._closed = False
        self.made = 0

    async def look(self, start: Callable[[Task, Pool], None]) -> bool:
        """Claim once for every pool with free slots; True when one of them might have found more.

        ``start`` gets what one pool found before the next is asked about: a dead link then finds it held and renewed.
        """
        more = False
        for pool, types in self._pools:
            wanted = pool.free() if self._left is None else min(pool.free(), self._left)
            if self._closed or not types or wanted < 1:
                continue
            found = await self._claim(types, wanted)
            self.made += len(found)
            if self._left is not None:
                self._left -= len(found)
            for task in found:
                start(task, pool)
            more = more or len(found) == wanted
        return more and self._left != 0

    async def nothing_left(self) -> bool:
        """Whether nothing that this node could run is pending, now or later, or running anywhere."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._is_idle)
        except DatabaseUnavailable:
            return False

    def stop(self) -> None:
        """Claim no more."""
        self._closed = True

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False)

    async def _claim(self, types: Sequence[str], wanted: int) -> list[Task]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._claim_now, types, wanted)
        except DatabaseUnavailable as error:
            log.debug("cannot claim", error=str(error))
            await asyncio.sleep(OUTAGE_PAUSE)
            return []

    def _claim_now(self, types: Sequence[str], wanted: int) -> list[Task]:
        source = self._source
        with self._database.begin() as conn:
            found = store.claim(
                conn,
                source.node_id,
                types=types,
                queues=source.queues,
                limit=wanted,
                lease_seconds=source.lease_seconds,
            )
            if found:
                hit("claim-before-commit")
        if found:
            hit("claim-after-commit")
        return found

    def _is_idle(self) -> bool:
        with self._database.read() as conn:
            return views.is_idle(conn, None if self._source.queues is None else list(self._source.queues), self._types)
