"""Requests that wait for the end of a task: they hold neither a thread nor a database connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from jobrunner.api.service import Service
from jobrunner.db.ends import RENEW
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue import views
from jobrunner.queue.task import ENDED
from jobrunner.queue.views import TaskView

WAITS_MOST = 2_000  # at the same time in one process; the next are answered as things stand
YOUNG = 0.02  # seconds after a submission in which its end is rather heard of than looked for
YOUNG_MOST = 1_000
SOONEST, LATEST = 0.05, 0.5  # seconds between two looks after all that is waited for

Found = TypeVar("Found")


class Waits:
    """All that wait in one application. Their ends are told by hints; one look after all of them is the truth."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, _Room] = WeakKeyDictionary()
        self._young: dict[str, float] = {}

    def submitted(self, task_id: str) -> None:
        """This task was added just now: who waits for it right away need not look yet, and would only be in its way."""
        self._young[task_id] = time.monotonic()
        if len(self._young) > YOUNG_MOST:
            self._young.clear()

    async def task(self, request: Request, task_id: str, seconds: float) -> TaskView:
        """The task as it is once it has ended, at the latest after ``seconds``, or when the process drains.

        Raises TaskNotFound, or ClientDisconnect when nobody waits any more.
        """
        room = self._rooms.setdefault(asyncio.get_running_loop(), _Room(self._service))
        if not seconds or room.count >= WAITS_MOST:
            return await run_in_threadpool(self._look, task_id)
        until = time.monotonic() + seconds
        with room.waiting(task_id) as ended:
            young_until = self._young.pop(task_id, 0.0) + YOUNG
            if not await _first(ended, request, min(until, young_until)):
                found = await run_in_threadpool(self._look, task_id)
                if found.status in ENDED or self._service.stopping():
                    return found
                await _first(ended, request, until)
        return await run_in_threadpool(self._look, task_id)

    @contextmanager
    def ended(self, task_id: str) -> Iterator[asyncio.Future[None]]:
        """A future that is done soon after this task has ended, or when the process drains."""
        room = self._rooms.setdefault(asyncio.get_running_loop(), _Room(self._service))
        with room.waiting(task_id) as ended:
            yield ended

    def _look(self, task_id: str) -> TaskView:
        with self._service.database.read(own=True) as conn:
            return views.task(conn, task_id)


async def _first(ended: asyncio.Future[None], request: Request, until: float) -> bool:
    """Wait for the end; False when the time came first. The caller's going away raises ClientDisconnect."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        return ended.done()
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((ended, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not ended.done():
            raise ClientDisconnect
        return ended.done()
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@dataclass(eq=False)
class _Room:
    """Who waits in one event loop."""

    service: Service
    count: int = 0
    _ended: dict[str, list[asyncio.Future[None]]] = field(default_factory=dict)
    _sweeping: asyncio.Task[None] | None = None
    _pause: float = SOONEST

    @contextmanager
    def waiting(self, task_id: str) -> Iterator[asyncio.Future[None]]:
        """A future that is done when the task has ended, or when nobody can wait any longer."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def told(_task_id: str) -> None:
            loop.call_soon_threadsafe(_done, ended)

        self.count += 1
        self._pause = SOONEST
        self._ended.setdefault(task_id, []).append(ended)
        self.service.ends.wait([task_id], told)
        if self._sweeping is None:
            self._sweeping = loop.create_task(self._sweep())
        try:
            yield ended
        finally:
            self.service.ends.wait_no_more([task_id], told)
            self.count -= 1
            self._ended[task_id].remove(ended)
            if not self._ended[task_id]:
                del self._ended[task_id]

    async def _sweep(self) -> None:
        """Look after all, again and again, as long as anybody waits."""
        announced = time.monotonic()
        try:
            while self._ended:
                await asyncio.sleep(self._pause)
                self._pause = min(LATEST, self._pause * 1.4)
                found = (
                    [*self._ended] if self.service.stopping() else await run_in_threadpool(self._look, [*self._ended])
                )
                for task_id in found:
                    for ended in self._ended.get(task_id, ()):
                        _done(ended)
                if time.monotonic() - announced > RENEW:
                    announced = time.monotonic()
                    self.service.ends.announce([*self._ended])
        finally:
            self._sweeping = None

    def _look(self, task_ids: list[str]) -> list[str]:
        try:
            with self.service.database.read(own=True) as conn:
                return views.ended_among(conn, task_ids)
        except DatabaseUnavailable:  # who waits is told when the time is up
            return []


def _done(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
