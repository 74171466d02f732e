"""Ends old rows, in batches, so that no transaction is long and no table grows for ever."""

from __future__ import annotations

import time

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.queue import store

BATCH, SMALLEST = 1_000, 10  # tasks in one transaction
BUDGET = 1.0  # seconds of one call: it holds the one thread of all duties

log = get_logger(__name__)


def prune(
    database: Database,
    *,
    completed_days: float,
    failed_days: float,
    audit_days: float,
    budget: float = BUDGET,
    batch: int = BATCH,
) -> int:
    """Delete ended tasks and what the audit tells past their retention, and what nodes, firings and loads left.

    Returns how many rows went.

    Begins no batch of tasks after ``budget`` seconds; the rest is for the next call. A batch that the database does not
    end in time is tried again at half its size, and DatabaseUnavailable raised only where SMALLEST is too many.
    """
    gone = 0
    until = time.monotonic() + budget
    while True:
        try:
            with database.begin() as conn:
                found = store.prune_tasks(conn, completed_days=completed_days, failed_days=failed_days, limit=batch)
        except DatabaseUnavailable as error:
            if batch <= SMALLEST:
                raise
            batch = max(SMALLEST, batch // 2)
            log.debug("pruning goes on in smaller batches", batch=batch, error=str(error))
            continue
        gone += found
        if found < batch or time.monotonic() >= until:
            break
    with database.begin() as conn:
        gone += store.prune_audit(conn, audit_days)
        return gone + store.prune_rest(conn, longest_days=max(completed_days, failed_days))
