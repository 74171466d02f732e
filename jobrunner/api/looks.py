"""One look at the database for all who ask at the same time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from jobrunner.api import changes, overview
from jobrunner.api.changes import States
from jobrunner.api.overview import Overview
from jobrunner.db.engine import Database

STATES_FOR = 0.25  # seconds: each stream looks twice a second, whatever the others do

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
    """The looks of one application, and how many event streams it has open (touched in its loop only)."""

    def __init__(self, database: Database) -> None:
        self.states: Shared[States] = Shared(lambda: changes.look(database), STATES_FOR)
        self.overview: Shared[Overview] = Shared(lambda: _overview(database))
        self.streams = 0


def _overview(database: Database) -> Overview:
    with database.read() as conn:
        return overview.gather(conn)
