"""``async`` handlers, in the worker's own loop: fast, and as little to be stopped as they wish."""

from __future__ import annotations

import asyncio
import threading

from jobrunner.execution import capture
from jobrunner.execution.attempt import perform_async
from jobrunner.execution.inprocess import InProcessAttempt, InProcessPool
from jobrunner.queue.task import Outcome


class AsyncPool(InProcessPool):
    """Slots for ``async`` handlers. One that blocks holds up the whole worker until it lets go."""

    kind = "async"

    async def start(self) -> None:
        """Get ready to run tasks in this loop."""
        await super().start()
        self._loop_thread = threading.get_ident()

    def _begin(self, attempt: InProcessAttempt) -> asyncio.Future[Outcome]:
        return asyncio.get_running_loop().create_task(_with_context(attempt))

    def _interrupt(self, attempt: InProcessAttempt) -> float:
        if attempt.work is not None:
            attempt.work.cancel()
        return self._grace.term


async def _with_context(attempt: InProcessAttempt) -> Outcome:
    capture.running.set(attempt.context)  # a task has a context of its own
    return await perform_async(attempt.task, attempt.handler, attempt.context)
