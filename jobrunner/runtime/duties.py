"""What a process does beside its work: tending the queue, forgetting what is old, warning of what it cannot mend."""

from __future__ import annotations

from collections.abc import Callable

from jobrunner.background.alarm import Alarm
from jobrunner.background.operations import Operations
from jobrunner.background.retention import prune
from jobrunner.background.tending import LOOK_EVERY, Tending
from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.runtime.clock import Clock, Duty
from jobrunner.settings import Settings

SELDOM = 60.0  # seconds

log = get_logger(__name__)


def start(
    database: Database,
    settings: Settings,
    wake: Callable[[], None],
    operations: Operations | None = None,
    *,
    fires: bool = True,
) -> Clock:
    """Do the duties until the returned clock is stopped. ``wake`` hears when one of them made work.

    ``operations`` carries on with those, and tells who waits for tasks that end by it. Without ``fires`` no schedule
    is fired.
    """

    tending = Tending(
        database,
        wake,
        lease_seconds=settings.lease_seconds,
        heartbeat_interval=settings.heartbeat_interval,
        operations=operations,
        fires=fires,
    )

    def forget() -> None:
        try:
            prune(
                database,
                completed_days=settings.keep_completed_days,
                failed_days=settings.keep_failed_days,
                audit_days=settings.keep_audit_days,
            )
        except DatabaseUnavailable as error:
            log.debug("pruning waits for the database", error=str(error))

    alarm = Alarm(database)

    def warn() -> None:
        try:
            alarm.look()
        except DatabaseUnavailable as error:
            log.debug("no look at transactions", error=str(error))

    ticking = Clock([Duty(tending.look, LOOK_EVERY), Duty(forget, SELDOM), Duty(warn, SELDOM)])
    ticking.start()
    return ticking
