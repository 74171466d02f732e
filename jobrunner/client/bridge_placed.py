"""Which place has which task, for all calls of a bridge, in whatever threads and loops they are."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, suppress

from jobrunner.client.bridge_memory import Memory
from jobrunner.client.bridge_nodes import Node
from jobrunner.client.bridge_values import BridgeTask, TaskResult
from jobrunner.client.errors import TakenId
from jobrunner.queue.task import Status

KEPT_RESULT = 10_000  # characters of a result that is remembered; a longer one has to be asked for


class Placed:
    """The place that one task goes to, or is at: a node, or home where ``node`` is None.

    Whoever chose it hands the task in, and all other calls of the same id wait for what comes of that. Once the place
    may have the task, it is the place of all of them, also after its end; before, it may still refuse.
    """

    def __init__(self, node: Node | None, request_hash: str) -> None:
        self.node = node
        self.ended = False
        self.last_word: TaskResult | None = None  # how it ended, where nothing changes that any more
        self._request_hash = request_hash
        self._settled: Future[None] = Future()

    @property
    def settled(self) -> bool:
        """Whether it is known what came of handing the task in: the place may have it, or certainly has not."""
        return self._settled.done()

    def settle(self) -> None:
        """Let all go on who wait."""
        with suppress(InvalidStateError):  # said before
            self._settled.set_result(None)

    def check(self, task: BridgeTask) -> None:
        """Raises TakenId where ``task`` is another than the one that is there."""
        if task.request_hash != self._request_hash:
            raise another(task.task_id)

    def heard(self, told: TaskResult) -> TaskResult:
        """Remember an end. One that failed or was cancelled may be retried by hand: how it stands is asked for."""
        self.ended = told.ended
        known = told.status == Status.COMPLETED and len(str(told.result)) <= KEPT_RESULT
        self.last_word = told if known else None
        return told

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
    """Where each task is, or was when it ended. Safe in threads."""

    def __init__(self) -> None:
        self._known: Memory[Placed] = Memory()

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._known

    def calling(self, task_id: str) -> AbstractContextManager[None]:
        """For a call: what is known of the task is kept meanwhile, however many others come."""
        return self._known.calling(task_id)

    def get(self, task_id: str) -> Placed | None:
        """Where it is, if anywhere."""
        return self._known.get(task_id)

    def claim(self, task: BridgeTask, node: Node | None) -> Placed | None:
        """Choose its place, and become who hands it in; None where somebody else was faster."""
        with self._known.lock:
            if task.task_id in self._known:
                return None
            placed = Placed(node, task.request_hash)
            self._known.put(task.task_id, placed)
            return placed

    def forget(self, task_id: str, placed: Placed) -> None:
        """It is certainly not there, or may run elsewhere; where it has another place by now, that stays."""
        with self._known.lock:
            if self._known.get(task_id) is placed:
                self._known.drop(task_id)
        placed.settle()


def another(task_id: str) -> TakenId:
    """That an id is taken, as the bridge itself knows."""
    told = f"task_id {task_id!r} is taken by a different request, which this bridge had before"
    return TakenId(409, told, {"code": "task_exists"}, task_id=task_id)
