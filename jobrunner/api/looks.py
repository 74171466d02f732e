"""One look at the database for all who ask at the same time."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, TypeVar

from jobrunner.api import changes, overview
from jobrunner.api.overview import Overview
from jobrunner.api.ring import Moment, Ring
from jobrunner.db.engine import Database
from jobrunner.queue import views
from jobrunner.queue.views import TaskState

STATES_FOR = 0.25  # seconds: each stream looks twice a second, whatever the others do
RINGS = 32  # sets of queues whose recent changes are kept; of more, those asked for last

Value = TypeVar("Value")


class Shared(Generic[Value]):
    """What ``look`` returned, from a look that began at most ``seconds`` before the asking; failures are shared too.

    A hundred pages that ask at once cost two looks, and a lost database is not asked a hundred times in a row. With 0
    seconds nobody gets what was seen before the asking: a page that heard of a change must find it. Safe in threads.
    """

    def __init__(self, look: Callable[[], Value], seconds: float = 0.0) -> None:
        self._look = look
        self._seconds = seconds
        self._lock = threading.Lock()
        self._began = -math.inf
        self._found: list[Value] = []
        self._failed: Exception | None = None
        self._where: TracebackType | None = None

    def get(self) -> Value:
        """The value; raises what ``look`` raised."""
        asked = time.monotonic()
        with self._lock:
            if self._began < asked - self._seconds:
                self._refresh()
            if self._failed is not None:
                raise self._failed.with_traceback(self._where)
            return self._found[0]

    def _refresh(self) -> None:
        self._began = time.monotonic()
        try:
            self._found, self._failed = [self._look()], None
        except Exception as error:  # noqa: BLE001 - handed to everybody who waits
            self._failed, self._where = error, error.__traceback__


class Looks:
    """The looks of one application, and how many event streams each caller has open (touched in its loop only)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._moments: OrderedDict[frozenset[str] | None, Shared[Moment]] = OrderedDict()
        self.overview: Shared[Overview] = Shared(lambda: _overview(database))
        self.followed = Followed(database)
        self.streams: Counter[str] = Counter()

    @contextmanager
    def streaming(self, who: str) -> Iterator[None]:
        """One more stream of this caller is open."""
        self.streams[who] += 1
        try:
            yield
        finally:
            self.streams[who] -= 1
            if not self.streams[who]:
                del self.streams[who]

    def moments(self, queues: frozenset[str] | None) -> Shared[Moment]:
        """What happens in these queues, None for everything; the same one for all who ask alike."""
        found = self._moments.get(queues)
        if found is None:
            ring = Ring(lambda before: changes.look(self._database, queues, before))
            found = self._moments[queues] = Shared(ring.look, STATES_FOR)
            if len(self._moments) > RINGS:
                self._moments.popitem(last=False)
        self._moments.move_to_end(queues)
        return found


class Followed:
    """The tasks that streams follow one by one: a look after all of them at once. Safe in threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._states = Shared(self._look, STATES_FOR)

    @contextmanager
    def follow(self, task_id: str) -> Iterator[None]:
        """Let this task be among those that are looked after."""
        with self._lock:
            self._names[task_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._names[task_id] -= 1
                if not self._names[task_id]:
                    del self._names[task_id]

    def state(self, task_id: str) -> TaskState | None:
        """A followed task as it was a quarter of a second ago or later; None where there is none any more."""
        asked, found = self._states.get()
        return found.get(task_id) if task_id in asked else self.look(task_id)

    def look(self, task_id: str) -> TaskState | None:
        """Any task as it is now; None where there is none."""
        with self._database.read() as conn:
            return views.states_among(conn, [task_id]).get(task_id)

    def _look(self) -> tuple[frozenset[str], dict[str, TaskState]]:
        with self._lock:
            asked = frozenset(self._names)
        with self._database.read() as conn:
            return asked, views.states_among(conn, sorted(asked))


def _overview(database: Database) -> Overview:
    with database.read() as conn:
        return overview.gather(conn)
