"""Waiting at the database: the ids are announced, who ends one of them says so, and a look behind it is the truth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from jobrunner.db.ends import RENEW
from jobrunner.db.hints import Hints
from jobrunner.db.notes import ENDED, WATCH, ids_of
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue.views import TaskView

PART = 100  # tasks that one look brings, at most
YOUNG = 0.02  # seconds after a submission in which its end is rather heard of than looked for


class Awaiting:
    """Waits for tasks with ``hints``, whose ``heard`` has to be this one's.

    ``look`` finds those of some that ended: PART of them where there are more.
    """

    def __init__(self, look: Callable[[Sequence[str]], list[TaskView]]) -> None:
        self._look = look
        self._announced: dict[str, float] = {}
        self._unseen: set[str] = set()  # announced, and perhaps ended before that: nobody will tell of them
        self._found: SimpleQueue[list[TaskView]] = SimpleQueue()
        self._submitted_at = -math.inf
        self._submitted = ""
        self._follows = False  # whether the last task that was added was waited for right away

    def submitted(self, task_id: str) -> bool:
        """A task was added. Whether to announce it as waited for: where the one before it was, this one will be."""
        self._follows = self._follows and not self._submitted
        self._submitted, self._submitted_at = task_id, time.monotonic()
        if self._follows:
            self._announced[task_id] = self._submitted_at
        return self._follows

    def heard(self, hint: str) -> None:
        """Take in what another process told, and look at what has ended: who waits is woken when it is found."""
        topic, task_ids = ids_of(hint)
        mine = [task_id for task_id in task_ids if task_id in self._announced] if topic == ENDED else []
        for start in range(0, len(mine), PART):
            try:
                found = self._look(mine[start : start + PART])
            except DatabaseUnavailable:
                found = []
            self._found.put(found)

    def look_again(self) -> None:
        """Let who waits in another thread come back after one look: he has something else to wait for as well."""
        self._found.put([])

    def wait(self, hints: Hints, task_ids: Collection[str], seconds: float) -> list[TaskView]:
        """Those that have ended, as soon as there is one; empty after so many seconds."""
        wanted, until = set(task_ids), time.monotonic() + seconds
        unseen = (self._unseen | set(self._announce(hints, task_ids))) & wanted
        if unseen:
            # A task that was added just now need not be looked for yet: it would only be in the way of its worker.
            found = self._hear(wanted, min(until, self._submitted_at + YOUNG))
            if not found:
                found = self._look([*unseen])
                unseen = unseen if len(found) >= PART else set()
            self._unseen = unseen.difference(view.task_id for view in found)
            if found:
                return found
        return self._hear(wanted, until) or self._look([*task_ids])

    def _announce(self, hints: Hints, task_ids: Collection[str]) -> list[str]:
        """Say what is waited for where that is new or was long ago; returns what is new."""
        if self._submitted in task_ids:
            self._follows, self._submitted = True, ""
        moment = time.monotonic()
        known = self._announced
        fresh = [task_id for task_id in task_ids if task_id not in known]
        stale = [task_id for task_id in task_ids if moment - known.get(task_id, moment) > RENEW]
        at = dict.fromkeys((*fresh, *stale), moment)
        self._announced = {task_id: at.get(task_id) or known[task_id] for task_id in task_ids}
        if at:
            hints.hear_ends()
            hints.tell(WATCH, at)
        return fresh

    def _hear(self, wanted: set[str], until: float) -> list[TaskView]:
        """Those of these that were heard to have ended, until then at the latest."""
        found: list[TaskView] = []
        with suppress(Empty):
            while not found or not self._found.empty():
                told = self._found.get(timeout=max(0.0, until - time.monotonic()))
                found += [view for view in told if view.task_id in wanted]
                if not told:
                    break  # it could not be looked at: who waits tries himself
        return found
