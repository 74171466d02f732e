"""When keys were used last, noted in a thread of its own: who asks never waits for that write."""

from __future__ import annotations

import math
import threading
import time

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.queue import store

AGAIN = 10.0  # seconds until the use of a key is told to the database again, which may know it from another process
WITHIN = 2.0  # seconds for the write

log = get_logger(__name__)


class Uses:
    """What is yet to be noted. Safe in threads; of its own it has one at a time, and only while there is something."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._untold: set[str] = set()
        self._writing = False

    def add(self, key_id: str) -> None:
        """This key was used just now."""
        if time.monotonic() < self._told.get(key_id, -math.inf) + AGAIN:
            return
        with self._lock:
            self._untold.add(key_id)
            if self._writing:
                return
            self._writing = True
        threading.Thread(target=self._write, name="uses-of-keys", daemon=True).start()

    def _write(self) -> None:
        while True:
            with self._lock:
                told, self._untold = self._untold, set()
                self._told.update(dict.fromkeys(told, time.monotonic()))
                self._writing = bool(told)
            if not told:
                return
            try:
                with self._database.begin(WITHIN, free=True) as conn:
                    store.note_used(conn, told)
            except DatabaseUnavailable as error:  # the next use is told again soon enough
                log.debug("uses of keys were not noted", error=str(error))
            except Exception:
                log.exception("uses of keys were not noted")
