"""One look at what is due, and what it calls for: firing, reclaiming, expiring."""

from __future__ import annotations

import random
from collections.abc import Callable

from jobrunner.background.reaper import expire_waiting, reclaim_stale, saw_no_outage
from jobrunner.background.scheduler import fire_due
from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.queue import views

LOOK_EVERY = 1.0  # seconds at most: a schedule fires within its second, whoever changed it
LOOKS_PER_LEASE = 4  # at least: whoever waits for a dead node shall wait for its lease, not for the look
SPREAD = 0.2  # seconds over which the looks for one instant are spread: else all workers would meet at its row

log = get_logger(__name__)


def tend(database: Database, wake: Callable[[], None], *, lease_seconds: float, heartbeat_interval: float) -> float:
    """Do what is due. ``wake`` hears when that made work. Returns the seconds after which to look again.

    What fails is told, and left to the next look; it keeps nothing else from being done.
    """
    rest = min(LOOK_EVERY, lease_seconds / LOOKS_PER_LEASE)
    patience = {"lease_seconds": lease_seconds, "heartbeat_interval": heartbeat_interval}
    calm = saw_no_outage(database, **patience)  # also where nothing is due: it has to be asked often
    try:
        with database.read(own=True) as conn:
            due = views.due(conn)
    except DatabaseUnavailable as error:
        log.debug("duties wait for the database", error=str(error))
        return rest
    made = False
    if due.firing_in is not None and due.firing_in <= 0:
        made |= _done(lambda: fire_due(database))
    if due.stale and calm:
        made |= _done(lambda: len(reclaim_stale(database, **patience)))
    if due.expired:
        _done(lambda: expire_waiting(database))
    if made:
        wake()
    if due.firing_in is not None and due.firing_in > 0:
        rest = min(rest, due.firing_in + random.uniform(0, SPREAD))  # noqa: S311 - no secret
    return rest


def _done(duty: Callable[[], int]) -> bool:
    """Whether it made work."""
    try:
        return duty() > 0
    except DatabaseUnavailable as error:
        log.debug("duty waits for the database", error=str(error))
    except Exception:
        log.exception("duty failed")
    return False
