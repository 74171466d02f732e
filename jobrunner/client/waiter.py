"""One thread that waits at a desk for the tasks of many coroutines, and wakes each when its own has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from jobrunner.client.desk import Answer
from jobrunner.client.local import Local

SLICE = 1.0  # seconds between two looks at all that are waited for, where nobody told of an end

Ended = Answer | Exception | None
"""How a task ended, or why that cannot be asked; None where there is no more waiting."""


class Waiter:
    """Begins its thread with the first wait; the thread ends with :meth:`stop`, or with the process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, list[Callable[[Ended], None]]] = {}
        self._desk: Local | None = None
        self._thread: threading.Thread | None = None
        self._inside = False  # whether the thread waits at the desk
        self._stopped = False

    def add(self, desk: Local, task_id: str, told: asyncio.Future[Ended]) -> Callable[[Ended], None]:
        """Set ``told``, a future of the running loop, when the task has ended; returns what ``drop`` takes."""
        loop = asyncio.get_running_loop()

        def tell(ended: Ended) -> None:
            in_loop(loop, told, ended)

        with self._changed:
            if self._stopped:
                tell(None)
                return tell
            self._waiting.setdefault(task_id, []).append(tell)
            self._desk = desk
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobrunner-waiter", daemon=True)
                self._thread.start()
            self._changed.notify()
            if self._inside:
                desk.look_again()  # with this one too
        return tell

    def drop(self, task_id: str, tell: Callable[[Ended], None]) -> None:
        """Wait no more; does nothing where it was told."""
        with self._changed:
            waiting = self._waiting.get(task_id, [])
            if tell in waiting:
                waiting.remove(tell)
                if not waiting:
                    del self._waiting[task_id]

    def stop(self) -> None:
        """Tell all that there is no more waiting; returns when the desk is left."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
            if self._inside and self._desk is not None:
                self._desk.look_again()
        if self._thread is not None:
            self._thread.join()
        self._tell_all(None)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._inside = False
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if self._stopped or self._desk is None:
                    return
                desk, task_ids = self._desk, [*self._waiting]
                self._inside = True
            try:
                found = desk.wait(task_ids, SLICE)
            except Exception as error:  # noqa: BLE001 - told to each caller, who tries again in an outage
                self._tell_all(error)
                continue
            for told in found:
                self._tell(told)

    def _tell(self, told: Answer) -> None:
        with self._changed:
            waiting = self._waiting.pop(told["task_id"], [])
        for tell in waiting:
            tell(told)

    def _tell_all(self, ended: Exception | None) -> None:
        with self._changed:
            every, self._waiting = self._waiting, {}
        for waiting in every.values():
            for tell in waiting:
                tell(ended)


def in_loop(loop: asyncio.AbstractEventLoop, told: asyncio.Future[Ended], ended: Ended) -> None:
    """Set a future of a loop from any thread, unless it is set, or nobody waits for it any more."""

    def set_it() -> None:
        if not told.done():
            told.set_result(ended)

    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(set_it)
