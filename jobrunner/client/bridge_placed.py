"""Which place has which task, for all calls of a bridge, in whatever threads and loops they are."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from jobrunner.client.bridge_nodes import Node


class Placed:
    """The place that one task goes to, or is at: a node, or home where ``node`` is None.

    Whoever chose it hands the task in, and all other calls of the same id wait for what comes of that. Once the place
    may have the task, it is the place of all of them; before, it may still refuse.
    """

    def __init__(self, node: Node | None) -> None:
        self.node = node
        self._settled: Future[None] = Future()

    @property
    def settled(self) -> bool:
        """Whether it is known what came of handing the task in: the place may have it, or certainly has not."""
        return self._settled.done()

    def settle(self) -> None:
        """Let all go on who wait."""
        with suppress(InvalidStateError):  # said before
            self._settled.set_result(None)

    async def wait(self, until: float) -> bool:
        """Wait until it is settled, or until then (monotonic); whether it is."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()

        def tell(_settled: Future[None]) -> None:
            with suppress(RuntimeError):  # whose loop is closed waits no more
                loop.call_soon_threadsafe(told.set)

        self._settled.add_done_callback(tell)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await told.wait()
        return self.settled


class Placements:
    """Where each task is that has not ended. Safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Placed] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._known

    def get(self, task_id: str) -> Placed | None:
        """Where it is, if anywhere."""
        return self._known.get(task_id)

    def claim(self, task_id: str, node: Node | None) -> Placed | None:
        """Choose its place, and become who hands it in; None where somebody else was faster."""
        with self._lock:
            if task_id in self._known:
                return None
            self._known[task_id] = Placed(node)
            return self._known[task_id]

    def forget(self, task_id: str, placed: Placed) -> None:
        """It has ended, or is certainly not there; where it has another place by now, that stays."""
        with self._lock:
            if self._known.get(task_id) is placed:
                del self._known[task_id]
        placed.settle()
