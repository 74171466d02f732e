"""Statements that are compiled before a process forks: to compile them took half of the time of each attempt."""

from __future__ import annotations

from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store
from jobrunner.queue.task import Ending, Outcome, Task

_latest: list[Database] = []


def warm(url: str, task: Task) -> None:
    """Compile what every attempt asks of a SQLite file: asked once, and undone. On a server each run has its own URL.

    Asked past ``Database.begin``, whose watch over deadlines is a thread, which no fork may have.
    """
    database = open_database(url)
    if not database.is_sqlite or known(url) is not None:
        return
    with database.engine.connect() as conn:
        conn.begin()
        store.holds(conn, task.lease)
        store.reclaim(conn, all_leases=True)
        store.claim(conn, task.lease.token, types=[task.task_type], queues=None, limit=1, lease_seconds=1.0)
        store.settle(conn, [(task, Outcome(Ending.COMPLETED))])
        conn.rollback()
    _latest[:] = [database]


def known(url: str) -> Database | None:
    """The database at this URL that was warmed, without any connection; None for another."""
    return next((database for database in _latest if database.url.render_as_string(hide_password=False) == url), None)
