"""Who waits for the end of which tasks, here and elsewhere, so that the end of a task that nobody waits for costs
nothing and the end of the others is told at once. A hint like all others: who waits looks by itself as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable

from jobrunner.db.notes import ENDED, WATCH, ids_of

REMEMBERED = 60.0  # seconds; who waits longer announces it again
RENEW = 25.0  # seconds between two announcements of one task by who waits
MOST = 10_000  # tasks waited for elsewhere: of more, the oldest are forgotten

Told = Callable[[str], None]


def _nobody(_topic: str, _task_ids: Collection[str]) -> None:
    return None


class Ends:
    """Remembers who waits, and passes on what has ended. Safe in threads.

    ``tell`` sends a topic and task_ids to all other processes; ``hears`` is False where this one does not hear who
    waits elsewhere, so that all have to be told.
    """

    def __init__(self, tell: Callable[[str, Collection[str]], None] = _nobody, *, hears: bool = True) -> None:
        self._tell = tell
        self._hears = hears
        self._lock = threading.Lock()
        self._here: dict[str, list[Told]] = {}
        self._elsewhere: dict[str, float] = {}  # until when; the oldest first
        self.watched = False  # whether anybody waits for anything: to be asked before :meth:`ended`, at no cost

    def wait(self, task_ids: Iterable[str], told: Told) -> None:
        """Call ``told``, in any thread, with each of these that ends from now on, until ``wait_no_more``."""
        ids = list(task_ids)
        with self._lock:
            for task_id in ids:
                self._here.setdefault(task_id, []).append(told)
            self._note()
        self.announce(ids)

    def announce(self, task_ids: Collection[str]) -> None:
        """Say to all others that these are waited for here: at the start, and every ``RENEW`` seconds."""
        self._tell(WATCH, task_ids)

    def wait_no_more(self, task_ids: Iterable[str], told: Told) -> None:
        """Take back a ``wait``."""
        with self._lock:
            for task_id in task_ids:
                waiting = self._here.get(task_id, [])
                if told in waiting:
                    waiting.remove(told)
                if not waiting:
                    self._here.pop(task_id, None)
            self._note()

    def heard(self, hint: str) -> bool:
        """Take in what another process told; False where it is about something else."""
        topic, task_ids = ids_of(hint)
        if topic == WATCH:
            self._remember(task_ids)
        elif topic == ENDED:
            self._pass_on(task_ids)
        return topic in (WATCH, ENDED)

    def waited_for(self, task_ids: Iterable[str]) -> list[str]:
        """Those of these that somebody waits for elsewhere."""
        with self._lock:
            return [task_id for task_id in task_ids if task_id in self._elsewhere]

    def told(self, task_ids: Iterable[str]) -> None:
        """All others were told that these have ended."""
        with self._lock:
            for task_id in task_ids:
                self._elsewhere.pop(task_id, None)
            self._note()

    def ended(self, task_ids: Iterable[str]) -> None:
        """These have ended, and that is committed: tell who waits for them."""
        ids = list(task_ids)
        with self._lock:
            away = [task_id for task_id in ids if self._elsewhere.pop(task_id, None) is not None or not self._hears]
            self._forget()
            self._note()
        self._pass_on(ids)
        if away:
            self._tell(ENDED, away)

    def _remember(self, task_ids: Iterable[str]) -> None:
        until = time.monotonic() + REMEMBERED
        with self._lock:
            for task_id in task_ids:
                self._elsewhere.pop(task_id, None)
                self._elsewhere[task_id] = until
            self._forget()
            self._note()

    def _pass_on(self, task_ids: Iterable[str]) -> None:
        with self._lock:
            waiting = [(told, task_id) for task_id in task_ids for told in self._here.get(task_id, ())]
        for told, task_id in waiting:
            told(task_id)

    def _forget(self) -> None:
        """What is too old, and the oldest of too many."""
        moment = time.monotonic()
        while self._elsewhere:
            oldest = next(iter(self._elsewhere))
            if len(self._elsewhere) <= MOST and self._elsewhere[oldest] > moment:
                return
            del self._elsewhere[oldest]

    def _note(self) -> None:
        self.watched = bool(self._here or self._elsewhere)
