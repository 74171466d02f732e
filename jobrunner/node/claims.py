"""Claiming: what the feeds have room for, in a thread of its own or in that of who hears of work."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.node.feed import Feed
from jobrunner.node.looking import Look, Lookout, Source
from jobrunner.queue import views
from jobrunner.queue.store import Room
from jobrunner.queue.task import Task

OUTAGE_PAUSE = 1.0  # seconds between claims while the database is away

log = get_logger(__name__)


Take = Callable[[Sequence[Task]], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a look came to, and how many hints had been heard when it began."""

    look: Look
    heard: int


class Claims:
    """Asks the database for work, one look at a time. ``most`` limits how many tasks are claimed in all.

    An idle worker stands by: whoever hears of work claims for it in his own thread. To wake the loop, and have it wake
    the claiming thread, took half a millisecond of a start. ``arrive`` hears at once, in whatever thread, what was
    claimed. All calls but :meth:`fulfil` and :meth:`stop` belong to the worker's loop.
    """

    def __init__(
        self,
        database: Database,
        source: Source,
        feeds: Sequence[Feed],
        types: Sequence[str],
        arrive: Take,
        most: int | None,
    ) -> None:
        self._database = database
        self._queues = source.queues
        self._types = types
        self._feeds = feeds
        self._arrive = arrive
        self._lookout = Lookout(database, source)
        self._left = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="claim")
        self._closed = False
        self._hints = 0
        self._lock = threading.Lock()
        self._standing: list[Room] = []  # what an idle worker has room for, until somebody claims for it
        self._away = False  # somebody does
        self._back = asyncio.Event()  # he is through, where that is awaited
        self.made = 0

    async def look(self, take: Take, *, everywhere: bool = False) -> bool:
        """Claim once for every feed that has room, and hand over what was found; False where there was no room.

        ``everywhere`` asks for a full look, also for kinds of which the last look found too little.
        """
        if everywhere:
            self._wet()
        else:
            for feed in self._feeds:
                feed.look_again()
        rooms = [room for feed in self._feeds if (room := feed.room()) is not None]
        if self._left is None:
            return await self._ask(rooms, take, everywhere)
        for room in rooms:  # each kind in turn, so that not one too many is taken
            await self._ask([replace(room, wanted=min(room.wanted, self._left))], take, everywhere)
        return bool(rooms) and self._left > 0

    def limits(self, queue: str) -> bool:
        """Whether this queue limits what runs, so that an end in it makes room for another of it."""
        return queue in self._lookout.limited

    def until_full(self) -> float:
        """Seconds after which a full look is due because a short one found too little for a feed that waits for it."""
        return self._lookout.until_full() if any(feed.dry for feed in self._feeds) else float("inf")

    def until_next(self) -> float:
        """Seconds after which there is a reason to look, whatever is heard until then."""
        moment = time.monotonic()
        return min(self.until_full(), *(feed.again_at - moment for feed in self._feeds if feed.dry), float("inf"))

    def hear(self) -> None:
        """There may be work of any kind, also for a look that is under way: it began too early to find it."""
        self._hints += 1
        self._wet()

    def stand_by(self) -> None:
        """From now on whoever hears of work may claim for what there is room for."""
        if not self._closed and self._left is None:
            rooms = [room for feed in self._feeds if (room := feed.room(though_dry=True)) is not None]
            with self._lock:
                self._standing = rooms

    def fulfil(self, deliver: Callable[[Found], None]) -> bool:
        """Claim for a worker that stands by, in the caller's thread; False where none does.

        ``deliver`` hands what was found to the loop, which calls :meth:`accept` with it.
        """
        with self._lock:
            rooms, self._standing = self._standing, []
            if self._closed or not rooms:
                return False
            self._away = True
        heard = self._hints
        try:
            look = self._find(rooms, False)
        except DatabaseUnavailable as error:
            log.debug("cannot claim", error=str(error))
            look = _nothing(rooms)
        except Exception:
            log.exception("cannot claim")  # the loop will find the same, and end
            look = Look([], frozenset())
        deliver(Found(look, heard))
        return True

    def accept(self, found: Found, take: Take) -> None:
        """Hand over what somebody claimed meanwhile."""
        self._away = False
        self._back.set()
        self._wet()  # as after a hint: he took what there was room for a while ago, of these kinds alone
        self._keep(found, take)

    async def withdraw(self) -> None:
        """Stand by no more; who claims at this moment is awaited."""
        with self._lock:
            self._standing = []
        if self._away:
            self._back.clear()
            await self._back.wait()

    async def nothing_left(self) -> bool:
        """Whether nothing that this node could run is pending, now or later, or running anywhere."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._is_idle)
        except DatabaseUnavailable:
            return False

    def stop(self) -> None:
        """Claim no more. Safe in any thread, and in a signal's handler: it takes no lock."""
        self._closed = True

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False)

    async def _ask(self, rooms: Sequence[Room], take: Take, everywhere: bool) -> bool:
        if self._closed or not any(room.wanted for room in rooms):
            return False
        heard = self._hints
        self._keep(Found(await self._look(rooms, everywhere), heard), take)
        return True

    def _keep(self, found: Found, take: Take) -> None:
        look = found.look
        self.made += len(look.tasks)
        if self._left is not None:
            self._left -= len(look.tasks)
        if found.heard == self._hints:
            for feed in self._feeds:
                feed.dry = feed.dry or feed.pool.kind in look.dry
        take(look.tasks)

    async def _look(self, rooms: Sequence[Room], everywhere: bool) -> Look:
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._find, rooms, everywhere)
        except DatabaseUnavailable as error:
            log.debug("cannot claim", error=str(error))
            await asyncio.sleep(OUTAGE_PAUSE)
            return _nothing(rooms)

    def _find(self, rooms: Sequence[Room], everywhere: bool) -> Look:
        found = self._lookout.look(rooms, everywhere)
        self._arrive(found.tasks)
        return found

    def _wet(self) -> None:
        for feed in self._feeds:
            feed.dry = False

    def _is_idle(self) -> bool:
        with self._database.read() as conn:
            return views.is_idle(conn, None if self._queues is None else list(self._queues), list(self._types))


def _nothing(rooms: Sequence[Room]) -> Look:
    return Look([], frozenset(room.kind for room in rooms))
