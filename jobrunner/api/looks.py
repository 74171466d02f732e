"""One look at the database for all who ask at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from jobrunner.api import changes, overview
from jobrunner.api.changes import States
from jobrunner.api.overview import Overview
from jobrunner.db.engine import Database

STATES_FOR, OVERVIEW_FOR = 0.25, 0.5  # seconds

Value = TypeVar("Value")


class Shared(Generic[Value]):
    """What ``look`` returned, at most ``seconds`` old; a failure is shared as well. Safe in threads.

    A hundred open pages then cost what one costs, and a lost database holds one thread after the other no longer.
    """

    def __init__(self, look: Callable[[], Value], seconds: float) -> None:
        self._look = look
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until = 0.0
        self._found: list[Value] = []
        self._failed: Exception | None = None

    def get(self) -> Value:
        """The value; raises what ``look`` raised."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._refresh()
            if self._failed is not None:
                raise self._failed.with_traceback(None)
            return self._found[0]

    def _refresh(self) -> None:
        try:
            self._found, self._failed = [self._look()], None
        except Exception as error:  # noqa: BLE001 - handed to everybody who waits
            self._failed = error
        self._until = time.monotonic() + self._seconds


class Looks:
    """The looks of one application, and how many event streams it has open (touched in its loop only)."""

    def __init__(self, database: Database) -> None:
        self.states: Shared[States] = Shared(lambda: changes.look(database), STATES_FOR)
        self.overview: Shared[Overview] = Shared(lambda: _overview(database), OVERVIEW_FOR)
        self.streams = 0


def _overview(database: Database) -> Overview:
    with database.read() as conn:
        return overview.gather(conn)
