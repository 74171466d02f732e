"""A database, workers on it that may be killed, and what came of their tasks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import attempts, nodes, tasks
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue import store, views
from jobrunner.queue.request import new_task
from tests.faults import history, journal
from tests.faults.check import check
from tests.faults.history import History, Line
from tests.processes import Process, Processes

ROOT = Path(__file__).parents[2]
LEASE = 2.0
HANDLERS = "tests.faults.tasks"
QUICK = {
    "PYTHONPATH": str(ROOT),
    "JOBRUNNER_HANDLERS": HANDLERS,
    "JOBRUNNER_LEASE_SECONDS": str(LEASE),
    "JOBRUNNER_HEARTBEAT_INTERVAL": "0.5",
    "JOBRUNNER_POLL_INTERVAL": "0.2",
    "JOBRUNNER_GRACE": "2",
    "JOBRUNNER_MAX_WORKERS": "2",
    "JOBRUNNER_LOG_FORMAT": "json",
}
READY = r'"event": "ready"'


class Fleet:
    """Starts workers on one database, hands them tasks past every client, and reads what became of them.

    Waiting methods take seconds and raise TimeoutError. ``url`` is what the test itself uses; workers may be given
    another address of the same database.
    """

    def __init__(self, processes: Processes, url: str, home: Path) -> None:
        self.url = url
        self.home = home
        self.ledger = home / "ledger"
        self.accepted: list[str] = []
        self._processes = processes
        self.keeps = True  # a journal of every move, from the first use on
        self._database: Database | None = None
        self._kept = False

    @property
    def database(self) -> Database:
        """Opened when first needed: on SQLite only where no process works."""
        if self._database is None:
            self._database = open_database(self.url)
            if self.keeps and not self._kept:
                journal.keep(self._database)
                self._kept = True
        return self._database

    def close(self) -> None:
        """Close the test's own connections."""
        if self._database is not None:
            self._database.dispose()
            self._database = None

    # -- processes ------------------------------------------------------------------------------------------------

    def worker(
        self,
        *args: str,
        port: int | None = None,
        command: str = "worker",
        loader: Mapping[str, str] | None = None,
        **env: str,
    ) -> Process:
        """Start one; ``env`` names settings in small letters, such as ``failpoint`` or ``max_workers``.

        ``loader`` is for variables that are none of its settings: it is then started by a new interpreter.
        """
        if self.keeps and not self._kept:
            assert self.database
            self.close()
        told = {"JOBRUNNER_DATABASE_URL": self.url, "JOBRUNNER_DATA_DIR": str(self.home / "data"), **QUICK}
        told |= {f"JOBRUNNER_{name.upper()}": value for name, value in env.items()}
        told |= loader or {}
        if port is not None:
            args = (*args, "--port", str(port))
        return self._processes.start(command, *args, env=told, port=port)

    def ready(self, *args: str, port: int | None = None, **env: str) -> Process:
        """Start one and wait until it works."""
        process = self.worker(*args, port=port, loader=None, **env)
        process.wait_for_line(READY)
        return process

    # -- tasks ----------------------------------------------------------------------------------------------------

    def submit(
        self, task_type: str, count: int = 1, /, *, options: Mapping[str, Any] | None = None, **data: Any
    ) -> list[str]:
        """Enqueue so many tasks with this data, and told where the ledger is; returns their ids."""
        told = {"ledger": str(self.ledger), **data}
        made = [new_task(task_type, told, **(options or {})) for _ in range(count)]
        with self.database.begin() as conn:
            ids = [one.task_id for one in store.enqueue_many(conn, made)]
        self.accepted += ids
        return ids

    def cancel(self, task_id: str) -> str:
        """Ask for a cancel past every client, and without a hint; returns the status at that moment."""
        with self.database.begin() as conn:
            return str(store.cancel(conn, task_id))

    def row(self, task_id: str) -> Any:
        """The task's row."""
        with self.database.read() as conn:
            return conn.execute(select(tasks).where(tasks.c.task_id == task_id)).one()

    def left(self, task_id: str) -> list[Any]:
        """The rows of its attempts, oldest first."""
        with self.database.read() as conn:
            found = select(attempts).join(tasks, tasks.c.id == attempts.c.task).where(tasks.c.task_id == task_id)
            return list(conn.execute(found.order_by(attempts.c.attempt)))

    def node(self, name: str) -> Any:
        """The row of the newest node of this name."""
        with self.database.read() as conn:
            found = select(nodes).where(nodes.c.name == name).order_by(nodes.c.started_at.desc())
            return conn.execute(found.limit(1)).first()

    def now(self) -> datetime:
        """The database's clock."""
        with self.database.read() as conn:
            return views.now(conn)

    def open_tasks(self) -> int:
        """How many have not ended."""
        with self.database.read() as conn:
            some = select(func.count()).select_from(tasks).where(tasks.c.status.in_(["pending", "running"]))
            return int(conn.execute(some).scalar_one())

    def wait_until_ended(self, within: float = 30.0) -> float:
        """Wait until no task is open; returns the seconds that it took."""

        def ended() -> bool:
            try:
                return self.open_tasks() == 0
            except DatabaseUnavailable:  # asked again, like everybody else
                return False

        return wait_for(ended, "every task ends", within)

    def wait_for_status(self, task_id: str, status: str, within: float = 15.0) -> float:
        """Wait until a task has this status."""
        return wait_for(lambda: self.row(task_id).status == status, f"{task_id} is {status}", within)

    def lines(self, what: str) -> list[Line]:
        """What the ledger holds under this word."""
        return [line for line in history.lines(self.ledger) if line.what == what]

    def lines_like(self, beginning: str) -> list[Line]:
        """What the ledger holds under words that begin so."""
        return [line for line in history.lines(self.ledger) if line.what.startswith(beginning)]

    def wait_for_lines(self, what: str, count: int, within: float = 20.0) -> float:
        """Wait until the ledger holds so many."""
        return wait_for(lambda: len(self.lines(what)) >= count, f"{count} x {what!r} in the ledger", within)

    # -- the end --------------------------------------------------------------------------------------------------

    def make_ledger_table(self) -> None:
        """Where effects write. No key: what is there twice shall be seen."""
        with self.database.begin() as conn:
            conn.execute(text("CREATE TABLE ledger (task_id text NOT NULL, attempt integer NOT NULL)"))

    def history(self, *, effects: bool = False) -> History:
        """Everything known of the run."""
        return history.read(self.database, self.ledger, self.accepted, effects=effects, kept=self._kept)

    def prove(self, what: str, *, effects: bool = False, **figures: float) -> History:
        """Nothing lost, nothing completed twice, every further run explained; prints the figures."""
        found = self.history(effects=effects)
        violations = check(found)
        assert not violations, "\n".join(map(str, violations))
        statuses = "/".join(sorted({row.status for row in found.rows}))
        told = "".join(f", {name} {value:.4g}" for name, value in figures.items())
        print(
            f"FIGURE {what}: {len(found.accepted)} accepted, {statuses}, {found.runs} runs, {found.lost} attempts lost"
            f", no task lost or completed twice{told}"
        )
        return found


def wait_for(true: Callable[[], bool], what: str, within: float) -> float:
    """Wait until something is so; returns the seconds that it took."""
    start = time.monotonic()
    while not true():
        if time.monotonic() - start > within:
            raise TimeoutError(f"not within {within:g} s: {what}")
        time.sleep(0.03)
    return time.monotonic() - start


def events(process: Process, event: str) -> list[str]:
    """The lines of its log with this event."""
    return [line for line in process.errors.splitlines() if re.search(rf'"event": "{event}', line)]
