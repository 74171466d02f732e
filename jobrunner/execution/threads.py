"""``isolation="inline"``: tiny plain handlers, each in a thread of the worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from jobrunner.execution import capture
from jobrunner.execution.attempt import perform
from jobrunner.execution.inprocess import InProcessAttempt, InProcessPool
from jobrunner.queue.task import Outcome

_Work = Callable[[], None]


class ThreadPool(InProcessPool):
    """Slots for inline handlers: one daemon thread each, so that a stuck one does not hold up the process's exit."""

    kind = "inline"

    async def start(self) -> None:
        """Start the threads."""
        await super().start()
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        for number in range(self.slots):
            threading.Thread(target=_serve, args=(self._work,), name=f"inline-{number}", daemon=True).start()

    async def close(self) -> None:
        """Ask everything to end, and send the idle threads home."""
        await super().close()
        for _ in range(self.slots):
            self._work.put(None)

    def _begin(self, attempt: InProcessAttempt) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()

        def tell(outcome: Outcome) -> None:
            done.set_result(None)
            self._ended(attempt, outcome)

        def work() -> None:
            known = capture.running.set(attempt.context)
            outcome = perform(attempt.task, attempt.handler, attempt.context)
            capture.running.reset(known)
            with suppress(RuntimeError):  # the loop is closed: the worker did not wait for this one
                self._loop.call_soon_threadsafe(tell, outcome)

        self._work.put(work)
        return done

    def _interrupt(self, attempt: InProcessAttempt) -> float:
        return self._grace.ask  # a thread cannot be ended: ctx.cancelled is all it gets


def _serve(queue: SimpleQueue[_Work | None]) -> None:
    while (work := queue.get()) is not None:
        work()
