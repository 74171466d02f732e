"""The clock of the background duties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobrunner.background.reaper import expire_waiting, reclaim_stale
from jobrunner.background.retention import prune
from jobrunner.background.scheduler import fire_due
from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.settings import Settings

FIRE_EVERY, RECLAIM_EVERY, EXPIRE_EVERY, PRUNE_EVERY = 1.0, 2.0, 5.0, 60.0  # seconds
SWEEPS_PER_LEASE = 4  # at least: whoever waits for a dead node shall wait for its lease, not for the sweep

log = get_logger(__name__)


def start(database: Database, settings: Settings, wake: Callable[[], None]) -> BackgroundScheduler:
    """Run the duties until the returned scheduler is shut down. ``wake`` hears when one of them made work."""

    def fire() -> None:
        if fire_due(database):
            wake()

    def reclaim() -> None:
        if reclaim_stale(
            database, lease_seconds=settings.lease_seconds, heartbeat_interval=settings.heartbeat_interval
        ):
            wake()

    def forget() -> None:
        prune(database, completed_days=settings.keep_completed_days, failed_days=settings.keep_failed_days)

    # One thread: duties share the worker's connections, and none of them is urgent to the second.
    ticking = BackgroundScheduler(executors={"default": ThreadPoolExecutor(1)}, timezone="UTC")
    for duty, seconds in (
        (fire, FIRE_EVERY),
        (reclaim, min(RECLAIM_EVERY, settings.lease_seconds / SWEEPS_PER_LEASE)),
        (lambda: expire_waiting(database), EXPIRE_EVERY),
        (forget, PRUNE_EVERY),
    ):
        ticking.add_job(_steady(duty), "interval", seconds=seconds, coalesce=True, misfire_grace_time=None)
    ticking.start()
    return ticking


def _steady(duty: Callable[[], Any]) -> Callable[[], None]:
    """A duty that fails is told and tried at its next tick; the clock never ends because of it."""

    def tick() -> None:
        try:
            duty()
        except DatabaseUnavailable as error:
            log.debug("duty waits for the database", error=str(error))
        except Exception:
            log.exception("duty failed")

    return tick
