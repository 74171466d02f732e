"""Whether and when to ask again: only what may be asked twice, with jitter, within a budget of time. Pure but for the
clock.
"""

from __future__ import annotations

import random
import time

from jobrunner.client.errors import OutcomeUnknown, Refused, Unreachable
from jobrunner.errors import (
    DatabaseUnavailable,
    InvalidInput,
    JobrunnerError,
    StateConflict,
    TaskExists,
    TaskNotFound,
)

BASE, CAP = 0.1, 5.0  # seconds: the longest rest after the first try, and after any
SURELY_NOT = frozenset({"draining", "schema_mismatch", "too_many_streams"})  # 503s by a server that did nothing
# Refusals that would not come if an earlier, unanswered try had been accepted:
SETTLES = frozenset({404, 409, 422})  # a server's
REFUSALS = (InvalidInput, StateConflict, TaskExists, TaskNotFound)  # the database's


class Tries:
    """The tries of one call, for at most ``patience`` seconds in all.

    ``again`` and ``changes`` are those of :class:`jobrunner.client.calls.Ask`; ``task_id`` is for OutcomeUnknown.
    """

    def __init__(self, patience: float, *, task_id: str = "", again: bool = True, changes: bool = False) -> None:
        self._patience = patience
        self._task_id = task_id
        self._again = again
        self._changes = changes
        self._open = False  # an earlier try may have been carried out
        self.refresh()

    def refresh(self) -> None:
        """Something was told: the time and the rests begin anew."""
        self.extend()
        self._longest = BASE

    def extend(self) -> None:
        """Somebody was there until now: the time begins anew. The rests do not, since nothing was told."""
        self._until = time.monotonic() + self._patience

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self._until - time.monotonic())

    def after(self, error: JobrunnerError) -> float:
        """Seconds to rest before the next try; raises what the call comes to where there is none.

        That is ``error``, or OutcomeUnknown where a try may have been carried out and nobody said so.
        """
        if not passes(error):
            if self._open and not _settles(error):
                raise self._unknown(error) from error
            raise error
        self._open = self._open or (self._changes and _may_have_arrived(error))
        rest = random.uniform(self._longest / 2, self._longest)  # noqa: S311 - no secret
        self._longest = min(CAP, 2 * self._longest)
        if isinstance(error, Refused) and error.retry_after is not None:
            rest += error.retry_after
        if rest > self.left() or (self._open and not self._again):
            if self._open:
                raise self._unknown(error) from error
            raise error
        return rest

    def _unknown(self, error: JobrunnerError) -> OutcomeUnknown:
        return OutcomeUnknown(self._task_id, str(error), again=self._again)


def passes(error: JobrunnerError) -> bool:
    """Whether the same may be answered otherwise a little later."""
    if isinstance(error, Refused):
        return error.status == 429 or error.status >= 500
    return isinstance(error, Unreachable | DatabaseUnavailable)


def _settles(error: JobrunnerError) -> bool:
    if isinstance(error, Refused):
        return error.status in SETTLES
    return isinstance(error, (*REFUSALS, OutcomeUnknown))  # which says what is known already


def _may_have_arrived(error: JobrunnerError) -> bool:
    if isinstance(error, Refused):
        return error.status >= 500 and error.code not in SURELY_NOT
    return not isinstance(error, Unreachable) or error.arrived
