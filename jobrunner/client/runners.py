"""How a client at a database waits: in place, or in threads of its own while the caller's loop goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Protocol, TypeVar

from jobrunner.client.desk import Answer
from jobrunner.client.errors import ClientClosed
from jobrunner.client.local import Local
from jobrunner.client.waiter import Ended, Waiter, in_loop

LOOK = 0.25  # seconds between two looks, where nobody tells of ends
THREADS = 4  # calls at one time: a client's calls go one after the other anyway

Told = TypeVar("Told")


class Signal(Protocol):
    """Something that happens once, told in any thread."""

    def set(self) -> None:
        """It has happened."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait until it has, so long at most."""
        ...


class Runner(Protocol):
    """How functions that ask the database are run, and how ends are waited for."""

    slice: float  # seconds of one wait, after which it is looked whether anybody works at all

    async def run(self, work: Callable[[], Told]) -> Told:
        """What ``work`` returns or raises."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Rest."""
        ...

    def signal(self) -> Signal:
        """A new one, for who waits here."""
        ...

    async def ended(self, desk: Local, task_id: str, seconds: float) -> Answer | None:
        """The task once it has ended; None after ``seconds``, or earlier: look then."""
        ...

    def stop(self) -> None:
        """End the waits at the desk, and let nobody begin one; returns when none is left there."""
        ...

    def close(self) -> None:
        """Run nothing any more."""
        ...


class PlainRunner:
    """Here and now."""

    slice = 1.0  # as long goes on who waits in another thread of the program while this one closes the client

    def __init__(self) -> None:
        self._waiting = threading.Lock()
        self._stopped = False

    async def run(self, work: Callable[[], Told]) -> Told:
        return work()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - there is no loop

    def signal(self) -> Signal:
        return _PlainSignal()

    async def ended(self, desk: Local, task_id: str, seconds: float) -> Answer | None:
        # Not where another thread waits already, who is told of what is his alone.
        if not self._waiting.acquire(blocking=False):
            await self.sleep(min(LOOK, seconds))
            return None
        try:
            found = [] if self._stopped else desk.wait([task_id], seconds)
        finally:
            self._waiting.release()
        return found[0] if found else None

    def stop(self) -> None:
        with self._waiting:
            self._stopped = True

    def close(self) -> None:
        return None


class LoopRunner:
    """In threads of its own, few of them however many wait: the loop's belong to the program."""

    slice = 5.0

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="jobrunner-client")
        self._waiter = Waiter()
        self._closed = False

    async def run(self, work: Callable[[], Told]) -> Told:
        if self._closed:
            raise ClientClosed
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(copy_context().run, work))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def signal(self) -> Signal:
        return _LoopSignal()

    async def ended(self, desk: Local, task_id: str, seconds: float) -> Answer | None:
        told: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        wanted = self._waiter.add(desk, task_id, told)
        try:
            await asyncio.wait([told], timeout=seconds)
        finally:
            self._waiter.drop(task_id, wanted)
        if not told.done():
            return None
        found = told.result()
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self) -> None:
        self._waiter.stop()

    def close(self) -> None:
        self._closed = True
        self._pool.shutdown(wait=False)


class _PlainSignal:
    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> None:
        self._event.wait(seconds)


class _LoopSignal:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._happened: asyncio.Future[Ended] = self._loop.create_future()

    def set(self) -> None:
        in_loop(self._loop, self._happened, None)

    async def wait(self, seconds: float) -> None:
        await asyncio.wait([self._happened], timeout=seconds)
