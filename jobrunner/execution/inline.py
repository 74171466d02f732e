"""``async`` handlers, in the worker's own loop: fast, and as little to be stopped as they wish."""

from __future__ import annotations

import asyncio
import threading

from jobrunner.execution import capture
from jobrunner.execution.attempt import perform_async
from jobrunner.execution.inprocess import InProcessAttempt, InProcessPool


class AsyncPool(InProcessPool):
    """Slots for ``async`` handlers. One that blocks holds up the whole worker until it lets go."""

    kind = "async"

    async def start(self) -> None:
        """Get ready to run tasks in this loop."""
        await super().start()
        self._loop_thread = threading.get_ident()

    def _begin(self, attempt: InProcessAttempt) -> asyncio.Future[None]:
        return self._loop.create_task(self._perform(attempt))

    async def _perform(self, attempt: InProcessAttempt) -> None:
        capture.running.set(attempt.context)  # a task has a context of its own
        self._ended(attempt, await perform_async(attempt.task, attempt.handler, attempt.context))

    def _interrupt(self, attempt: InProcessAttempt) -> float:
        if attempt.work is not None:
            attempt.work.cancel()
            attempt.work.add_done_callback(lambda _: self._ended(attempt, None))  # it may not even have begun
        return self._grace.term
