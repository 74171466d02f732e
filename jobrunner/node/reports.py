"""What attempts tell while they run, gathered here and written in batches."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from jobrunner.db.engine import Database
from jobrunner.errors import LeaseLost
from jobrunner.execution.applied import applied
from jobrunner.handlers.effects import EFFECT_DEADLINE
from jobrunner.queue import store
from jobrunner.queue.task import Lease, LogLine

BUFFERED = 20_000  # log lines kept while the database is away; of more, the oldest go


class Gathered:
    """Implements :class:`jobrunner.execution.pool.Reports`: progress and logs wait here for the next write."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._progress: dict[Lease, tuple[float | None, str]] = {}
        self._lines: list[tuple[Lease, LogLine]] = []
        self._changed = threading.Lock()

    @cached_property
    def database_url(self) -> str | None:
        """Where children write for themselves; None on SQLite, which has one writing process.

        Asked for at each attempt: putting it together anew took 7 % of what a no-op in a child costs the worker.
        """
        if self._database.is_sqlite:
            return None
        return self._database.url.render_as_string(hide_password=False)

    def progress(self, lease: Lease, fraction: float | None, message: str) -> None:
        """Keep the latest of an attempt."""
        with self._changed:
            self._progress[lease] = (fraction, message)

    def logs(self, lease: Lease, lines: list[LogLine]) -> None:
        """Keep lines."""
        with self._changed:
            self._lines += [(lease, line) for line in lines]
            del self._lines[:-BUFFERED]

    def apply(self, lease: Lease, effect: str, rows: list[Any]) -> Any:
        """Run an effect in a transaction that commits only while the lease holds; raises LeaseLost."""
        with self._database.begin(deadline=EFFECT_DEADLINE, free=True) as conn:
            value = applied(conn, effect, rows)
            if not store.holds(conn, lease):
                raise LeaseLost("another attempt owns this task now, or it ended; what the effect wrote was undone")
            return value

    def waiting(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._progress or self._lines)

    def write(self, conn: Connection, told: tuple[dict[Lease, tuple[float | None, str]], list[Any]]) -> None:
        """Write what :meth:`take` gave."""
        progress, lines = told
        store.logs(conn, lines)
        store.progress(conn, progress)

    def take(self) -> tuple[dict[Lease, tuple[float | None, str]], list[tuple[Lease, LogLine]]]:
        """Everything gathered since the last call."""
        with self._changed:
            told = (self._progress, self._lines)
            self._progress, self._lines = {}, []
        return told

    def give_back(self, told: tuple[dict[Lease, tuple[float | None, str]], list[tuple[Lease, LogLine]]]) -> None:
        """Keep for the next write what could not be written."""
        progress, lines = told
        with self._changed:
            self._progress = {**progress, **self._progress}
            self._lines = [*lines, *self._lines][-BUFFERED:]
