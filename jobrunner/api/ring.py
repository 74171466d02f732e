"""A ring of recent changes, so that a stream that broke off goes on where it was."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobrunner.api import changes
from jobrunner.api.changes import NEWEST, NOTHING, States

KEPT = 200  # changes: at two a second, those of 100 seconds
UNSEEN = 2.0  # seconds without a look, after which more may have happened than the next one sees
FORGOTTEN = 30.0  # seconds without a look, after which it certainly has


@dataclass(frozen=True)
class Moment:
    """The states at one look, and what led to them. ``name`` is that of a row of changes without a gap."""

    name: str
    number: int
    states: States
    recent: tuple[dict[str, Any], ...]

    @property
    def id(self) -> str:
        """The id of an event that tells of this moment."""
        return f"{self.name}-{self.number}"

    def since(self, event_id: str) -> dict[str, Any] | None:
        """What changed after the event with this id; None where that is too long ago, or another server's."""
        name, _, number = event_id.rpartition("-")
        if name != self.name or not (number.isascii() and number.isdigit() and len(number) < 12):
            return None
        missed = self.number - int(number)
        if not 0 <= missed <= len(self.recent):
            return None
        return changes.merged(self.recent[len(self.recent) - missed :])


class Ring:
    """Makes moments of looks, each of which is told what the last one saw. One look at a time: see ``Shared``."""

    def __init__(self, look: Callable[[States], States]) -> None:
        self._look = look
        self._seen = NOTHING
        self._looked = 0.0
        self._name = ""
        self._number = 0
        self._recent: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def look(self) -> Moment:
        """Look, and keep what changed since the last time; raises what the look raises."""
        now = self._look(self._seen)
        moment = time.monotonic()
        if not self._name or self._may_have_missed(now, moment - self._looked):
            self._name, self._number = secrets.token_hex(4), 0
            self._recent.clear()
        else:
            told = now.since(self._seen)
            if told:
                self._number += 1
                self._recent.append(told)
        self._seen, self._looked = now, moment
        return Moment(self._name, self._number, now, tuple(self._recent))

    def _may_have_missed(self, now: States, unseen: float) -> bool:
        """Whether tasks may have come and gone, or ended, that no look saw."""
        if unseen > FORGOTTEN or self._seen.left_open(now):  # so many that nobody looked for them
            return True
        return unseen > UNSEEN and len(now.tasks) >= NEWEST and now.tasks.keys().isdisjoint(self._seen.tasks)
