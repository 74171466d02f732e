"""Takes back the leases of dead nodes, and ends tasks that waited past their ``expires_at``."""

from __future__ import annotations

import time
from contextlib import suppress

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseBusy, DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.queue import store
from jobrunner.queue.store import Reclaimed
from jobrunner.settings.failpoints import hit

BATCH = 500
OUTAGE_SHARE = 0.4  # of a lease: a renewal is due each third of one, and has the rest of it to come through
PATIENCE = 2.0  # seconds that one may have to wait to write; a migration lets others pass after one

log = get_logger(__name__)


def may_reclaim(database: Database, *, lease_seconds: float, heartbeat_interval: float) -> bool:
    """Whether silence of others can be told from an outage.

    After an outage longer than the lease every living worker looks dead: without this wait an outage of 60 s made
    all running tasks run twice. So who takes back has had answers for lease + heartbeat, without a pause of
    ``OUTAGE_SHARE`` of the lease. A process that was itself away has not (a machine that slept would else take the
    tasks from its own hands), nor has one that only just began (one that did so as a dead network came back ran 4 of 4
    tasks again).
    """
    return database.sound_for() >= lease_seconds + heartbeat_interval


def reclaim_stale(database: Database, *, lease_seconds: float, heartbeat_interval: float) -> list[Reclaimed]:
    """Return tasks whose lease went stale to the queue, all of them, batch by batch.

    Who has to wait for that counts it as an outage, and raises DatabaseBusy: what keeps this one from writing, a lock
    on the table or an effect that takes all of a SQLite file's lease, keeps others from renewing. Behind a lock of
    12 s, with a lease of 4, all that ran was run again.
    """
    patience = {"lease_seconds": lease_seconds, "heartbeat_interval": heartbeat_interval}
    if database.refusing:
        _try_to_write(database)
    if not may_reclaim(database, **patience):
        return []
    taken: list[Reclaimed] = []
    while True:
        began = time.monotonic()
        try:
            with database.begin(patience=PATIENCE) as conn:
                if time.monotonic() - began > PATIENCE:
                    raise DatabaseBusy("another's transaction kept this one waiting")
                if not may_reclaim(database, **patience):  # this machine may have slept
                    return taken
                batch = store.reclaim(conn, BATCH)
                if batch:
                    hit("reclaim-before-commit")
        except DatabaseUnavailable:
            database.saw_outage()
            raise
        if batch:
            hit("reclaim-after-commit")
        for task in batch:
            log.warning("lease reclaimed", task_id=task.task_id, status=task.status, node_id=task.node_id)
        taken += batch
        if len(batch) < BATCH:
            return taken


def _try_to_write(database: Database) -> None:
    """Where it took no writes: see whether it does, and undo it. Who could not renew has his time from now on."""
    with suppress(_Undone), database.begin(patience=PATIENCE) as conn:
        store.reclaim(conn, BATCH)
        raise _Undone
    database.refusing = False
    database.saw_outage()


class _Undone(Exception):
    pass


def reclaim_all(database: Database) -> list[Reclaimed]:
    """Take every lease: for the process that has just proved to be the only one (SQLite, by its file's lock)."""
    taken: list[Reclaimed] = []
    while True:
        with database.begin() as conn:
            batch = store.reclaim(conn, BATCH, all_leases=True)
        taken += batch
        if len(batch) < BATCH:
            return taken


def expire_waiting(database: Database) -> int:
    """Cancel pending tasks whose ``expires_at`` has passed."""
    ended = 0
    while True:
        with database.begin() as conn:
            batch = store.expire(conn, BATCH)
        ended += batch
        if batch < BATCH:
            return ended
