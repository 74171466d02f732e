"""Says so when somebody else's transaction makes every claim dearer."""

from __future__ import annotations

import time

from jobrunner.db.engine import Database
from jobrunner.db.old_transactions import oldest_transaction
from jobrunner.logs import get_logger

OLD = 300.0  # seconds: at 1,000 tasks a second a claim is 1.2 times as dear after ten minutes, and vacuum waits
AGAIN = 600.0  # seconds between two warnings of the same

log = get_logger(__name__)


class Alarm:
    """Looks when it is told to, and warns at most once in ``again`` seconds."""

    def __init__(self, database: Database, *, old: float = OLD, again: float = AGAIN) -> None:
        self._database = database
        self._old = old
        self._again = again
        self._warned: float | None = None

    def look(self) -> None:
        """Warn of a transaction that is open for too long, and tell when it is gone. Raises DatabaseUnavailable."""
        with self._database.read() as conn:
            found = oldest_transaction(conn, self._old)
        moment = time.monotonic()
        if found is None:
            if self._warned is not None:
                log.info("no old transaction is open any more")
            self._warned = None
        elif self._warned is None or moment - self._warned >= self._again:
            self._warned = moment
            log.warning(
                "an old transaction is open: claims get slower, and nothing is vacuumed, until it ends",
                who=found.who,
                minutes=round(found.seconds / 60, 1),
            )
