"""A change and the look behind it in one call, for desks that offer each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jobrunner.client.errors import done

if TYPE_CHECKING:
    from jobrunner.client.desk import Answer


class Halves(Protocol):
    """What a desk needs for it, and what it then can; see :class:`jobrunner.client.desk.Desk`."""

    def task(self, task_id: str) -> Answer: ...

    def only_cancel(self, task_id: str, reason: str = "") -> None: ...

    def only_retry(self, task_id: str) -> None: ...

    def cancel(self, task_id: str, reason: str = "") -> Answer:
        """Cancel a task, and look at it."""
        self.only_cancel(task_id, reason)
        with done(task_id, "cancel", again=True):
            return self.task(task_id)

    def retry(self, task_id: str) -> Answer:
        """Run a failed or cancelled task again, and look at it."""
        self.only_retry(task_id)
        with done(task_id, "retry", again=False):
            return self.task(task_id)
