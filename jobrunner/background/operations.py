"""Carries on with operations: any process, at any time, one step in one transaction each, so that none is ever lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.queue import store
from jobrunner.queue.store import STEP, Step

BUDGET = 0.3  # seconds of one call, which holds the thread of all duties
SLOW = 0.5  # seconds of one step, after which the next one is of half as many tasks
LIMIT = 2.0  # seconds of one statement of a step; a step that takes longer is tried again with half as many tasks
AGAIN = 1.0  # seconds until an operation whose step failed is tried again, twice as many after each further failure
AGAIN_MOST = 60.0
SOON = 0.1  # seconds until the next call while there is more to do
HELD_FOR = 10.0  # seconds for which a task that somebody else holds puts its operation off

log = get_logger(__name__)


def _nobody(_task_ids: Collection[str]) -> None:
    return None


def _nothing() -> None:
    return None


class _PutBehind(Exception):
    """The step of an operation failed; the others go on."""


class _TooLong(Exception):
    """The database gave a step up; the next one is of half as many tasks."""


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
        self._size = STEP  # tasks of the next step
        self._behind: dict[str, tuple[float, float]] = {}  # by operation: when it is tried again, and the last pause

    def carry_on(self, operation_id: str | None = None, *, budget: float = BUDGET) -> bool:
        """Take steps of the oldest operation, or of this one, for so many seconds. False where nothing is left to do.

        One whose step fails is put behind the others, and tried again later: it would else bar all that were begun
        after it. Raises DatabaseUnavailable; what was done until then stays done.
        """
        until = time.monotonic() + budget
        while True:
            try:
                step = self._step(operation_id)
            except _PutBehind:
                if operation_id is not None:
                    return False
                continue
            except _TooLong:
                return True
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

    def _step(self, operation_id: str | None) -> Step | None:
        """One step, of as many tasks as the last ones had time for."""
        taken, began = operation_id, time.monotonic()
        later = [one for one, (again_at, _) in self._behind.items() if again_at > began]
        try:
            with self._database.begin(limit=LIMIT) as conn:
                taken = taken or store.next_operation(conn, but=later)
                if taken is None:
                    return None
                step = store.step_operation(conn, taken, step=self._size, pass_held=self._patience_is_out())
        except DatabaseUnavailable as error:
            if taken is None or time.monotonic() - began < LIMIT:
                raise
            if self._size == 1:
                self._put_behind(taken, error)
                raise _PutBehind from error
            self._size //= 2
            raise _TooLong from error
        except Exception as error:
            if taken is None:
                raise
            self._put_behind(taken, error)
            raise _PutBehind from error
        took = time.monotonic() - began
        self._size = max(1, self._size // 2) if took > SLOW else min(STEP, self._size * 2)
        self._behind.pop(taken, None)
        return step

    def _put_behind(self, operation_id: str, error: Exception) -> None:
        _, last = self._behind.get(operation_id, (0.0, AGAIN / 2))
        pause = min(2 * last, AGAIN_MOST)
        self._behind[operation_id] = time.monotonic() + pause, pause
        log.warning("operation failed; it is tried again", operation=operation_id, seconds=pause, exc_info=error)
        try:
            with self._database.begin() as conn:
                store.note_failure(conn, operation_id, f"{type(error).__name__}: {error}")
        except DatabaseUnavailable as unavailable:
            log.debug("the operation's failure cannot be kept", operation=operation_id, error=str(unavailable))

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
