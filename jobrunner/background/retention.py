"""Ends old rows, in batches, so that no transaction is long and no table grows for ever."""

from __future__ import annotations

from jobrunner.db.engine import Database
from jobrunner.queue import store

BATCH = 1_000


def prune(database: Database, *, completed_days: float, failed_days: float) -> int:
    """Delete ended tasks past their retention, and what nodes and firings left. Returns how many rows went."""
    gone = 0
    while True:
        with database.begin() as conn:
            batch = store.prune_tasks(conn, completed_days=completed_days, failed_days=failed_days, limit=BATCH)
        gone += batch
        if batch < BATCH:
            break
    with database.begin() as conn:
        return gone + store.prune_rest(conn, longest_days=max(completed_days, failed_days))
