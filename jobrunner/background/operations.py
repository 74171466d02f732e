"""Carries on with operations: any process, at any time, one step in one transaction each, so that none is ever lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from jobrunner.db.engine import Database
from jobrunner.logs import get_logger
from jobrunner.queue import store

BUDGET = 0.3  # seconds of one call, which holds the thread of all duties
SOON = 0.1  # seconds until the next call while there is more to do
HELD_FOR = 10.0  # seconds for which a task that somebody else holds puts its operation off

log = get_logger(__name__)


def _nobody(_task_ids: Collection[str]) -> None:
    return None


def _nothing() -> None:
    return None


class Operations:
    """Takes steps. ``ended`` hears which tasks have ended, ``cancel_hint`` that running ones were asked to, ``wake``
    that some wait again: each after the commit.
    """

    def __init__(
        self,
        database: Database,
        *,
        ended: Callable[[Collection[str]], None] = _nobody,
        cancel_hint: Callable[[], None] = _nothing,
        wake: Callable[[], None] = _nothing,
    ) -> None:
        self._database = database
        self._ended = ended
        self._cancel_hint = cancel_hint
        self._wake = wake
        self._held: tuple[str, int] | None = None  # an operation, and the task that puts it off
        self._held_since = 0.0

    def carry_on(self, operation_id: str | None = None, *, budget: float = BUDGET) -> bool:
        """Take steps of the oldest operation, or of this one, for so many seconds. False where nothing is left to do.

        Raises DatabaseUnavailable; what was done until then stays done.
        """
        until = time.monotonic() + budget
        while True:
            with self._database.begin() as conn:
                step = store.step_operation(conn, operation_id, pass_held=self._patience_is_out())
            if step is None:
                return False
            self._tell(step)
            if step.done:
                log.info("operation done", operation=step.operation_id)
                if operation_id is not None:
                    return False
            self._note(step)
            if step.held or time.monotonic() >= until:
                return True

    def _tell(self, step: store.Step) -> None:
        if step.ended:
            self._ended(step.ended)
        if step.asked:
            self._cancel_hint()
        if step.woke:
            self._wake()

    def _note(self, step: store.Step) -> None:
        held = (step.operation_id, step.held[0]) if step.held else None
        if held != self._held:
            self._held, self._held_since = held, time.monotonic()

    def _patience_is_out(self) -> bool:
        return self._held is not None and time.monotonic() - self._held_since >= HELD_FOR
