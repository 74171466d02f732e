"""One look at what is due, and what it calls for: firing, reclaiming, expiring, carrying on with operations."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from jobrunner.background.operations import SOON, Operations
from jobrunner.background.reaper import expire_waiting, reclaim_stale
from jobrunner.background.scheduler import fire_due
from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.queue import views

LOOK_EVERY = 1.0  # seconds at most: a schedule fires within its second, whoever changed it
LOOKS_PER_LEASE = 4  # at least: whoever waits for a dead node shall wait for its lease, not for the look
SPREAD = 0.2  # seconds over which the looks for one instant are spread: else all workers would meet at its row
FULL_SHARE = 50  # a full look may take at most one part in so many of the time
FULL_LATEST = 60.0  # seconds after which one follows even where it takes more than that share
LATE = 2.0  # seconds by which a commit may come after the clock that it was told, and still be seen by a short look

log = get_logger(__name__)


class Tending:
    """Sees to what is due. ``wake`` hears when that made work. Calls belong to one thread.

    Without ``fires`` schedules are left to other processes.

    A full look walks over the leases of all that was taken since the oldest open transaction of anybody: 1.1 s after
    400,000 tasks, which three processes did once a second. So full looks take at most their share of the time, and
    short ones begin where the last look found nothing: leases run out in the order of the clock. What these do not see,
    a renewal or a claim that was committed late and a task that was put back after its ``expires_at``, waits for a full
    one.
    """

    def __init__(
        self,
        database: Database,
        wake: Callable[[], None],
        *,
        lease_seconds: float,
        heartbeat_interval: float,
        operations: Operations | None = None,
        fires: bool = True,
    ) -> None:
        self._database = database
        self._fires = fires
        self._wake = wake
        self._operations = operations or Operations(database, wake=wake)
        self._patience = {"lease_seconds": lease_seconds, "heartbeat_interval": heartbeat_interval}
        self._rest = min(LOOK_EVERY, lease_seconds / LOOKS_PER_LEASE)
        self._leap = lease_seconds / 3  # what is left of a living worker's lease at the least: it is renewed by then
        self._clear_until: datetime | None = None  # nothing had become due by then
        self._full_at = 0.0
        self._last_told: tuple[datetime, float] | None = None  # the database's clock, and ours before we asked

    def look(self) -> float:
        """Look once, and do what is due. Returns the seconds after which to look again.

        What fails is told, and left to the next look; it keeps nothing else from being done.
        """
        database, rest = self._database, self._rest
        try:
            due = self._due()
        except DatabaseUnavailable as error:
            log.debug("duties wait for the database", error=str(error))
            return rest
        made = False
        firing_in = due.firing_in if self._fires else None
        if firing_in is not None and firing_in <= 0:
            made |= _done(lambda: fire_due(database))
        if due.stale:
            made |= _done(lambda: len(reclaim_stale(database, **self._patience)))
        if due.expired:
            _done(lambda: expire_waiting(database))
        if due.operations and _done(self._operations.carry_on):
            rest = SOON
        if made:
            self._wake()
        if firing_in is not None and firing_in > 0:
            rest = min(rest, firing_in + random.uniform(0, SPREAD))  # noqa: S311 - no secret
        return rest

    def _due(self) -> views.Due:
        begun, asked = time.monotonic(), self._database.clock()
        full = begun >= self._full_at
        with self._database.read(own=True) as conn:
            due = views.due(conn, None if full else self._clear_until)
        self._compare_clocks(due.now, asked)
        if full:
            ended = time.monotonic()
            self._full_at = ended + min((ended - begun) * FULL_SHARE, FULL_LATEST)
        if not (due.stale or due.expired):
            self._clear_until = due.now - timedelta(seconds=LATE)
        return due

    def _compare_clocks(self, told: datetime, asked: float) -> None:
        """A leap of the database's clock counts as an outage: every lease has run out then, of the living as well."""
        if self._last_told is not None:
            before, then = self._last_told
            ahead = (told - before).total_seconds() - (self._database.clock() - then)
            if ahead > self._leap:
                log.warning("the database's clock went ahead: leases are given time to be renewed", seconds=ahead)
                self._database.saw_outage()
        self._last_told = told, asked


def _done(duty: Callable[[], int]) -> bool:
    """Whether it made work."""
    try:
        return duty() > 0
    except DatabaseUnavailable as error:
        log.debug("duty waits for the database", error=str(error))
    except Exception:
        log.exception("duty failed")
    return False
