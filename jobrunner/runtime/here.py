"""A worker inside somebody else's program: it takes no signals, serves nothing, and never ends the process."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial

from jobrunner.background.reaper import OUTAGE_SHARE
from jobrunner.db.ends import Ends
from jobrunner.db.engine import open_database
from jobrunner.db.hints import Hints
from jobrunner.db.lock import PATIENCE, FileLock
from jobrunner.db.notes import WORK
from jobrunner.handlers import load as load_handlers
from jobrunner.logs import get_logger
from jobrunner.node.worker import RELEASE_DEADLINE, Limits
from jobrunner.runtime import duties
from jobrunner.runtime.run import let_go, pass_on, prepare_schema
from jobrunner.runtime.work import CONNECTIONS, Work
from jobrunner.settings import Settings

GOODBYE = 5.0  # seconds for the worker's last words, after what it runs had its grace

log = get_logger(__name__)


class Here:
    """Runs the tasks of ``settings``' database, of all its queues, in threads and children of this process.

    Works from the start until :meth:`close`; on SQLite it holds the file for so long. ``ends`` tells who waits. Raises
    DatabaseLocked, DatabaseUnavailable, SchemaMismatch, SettingsError or HandlerError where it cannot begin.
    """

    def __init__(self, settings: Settings) -> None:
        load_handlers(settings.handlers)
        self._settings = settings
        self._ended = threading.Event()
        with ExitStack() as parts:
            self.database = open_database(
                settings.url, pool_size=CONNECTIONS, outage=OUTAGE_SHARE * settings.lease_seconds
            )
            lock = FileLock(self.database.url.database or "")
            parts.callback(let_go, self.database, lock)
            if settings.is_sqlite:
                lock.take(patience=PATIENCE)
            prepare_schema(self.database, settings, migrate=settings.is_sqlite)
            self._hints = Hints(self.database, self._heard, own=partial(self._heard, here=True), ends=True)
            parts.callback(self._hints.stop)
            self.ends = Ends(self._hints.tell)
            self._work = Work(settings, self.database, self.ends, None, _limits(settings), self._ended.set)
            self._work.start()
            parts.callback(self._finish)
            self._hints.start()
            ticking = duties.start(self.database, settings, partial(self.hint, WORK))
            parts.callback(ticking.stop)
            self._parts = parts.pop_all()

    def hint(self, topic: str) -> None:
        """Tell this worker and all others at once of something, as ``jobrunner.db.notes`` names it."""
        self._hints.send(topic)

    def close(self) -> None:
        """Claim nothing more, let what runs end within the grace of the settings, give back the rest; then let go."""
        self._parts.close()

    def _heard(self, topic: str, *, here: bool = False) -> None:
        if not self.ends.heard(topic):
            pass_on(topic, self._work, here)

    def _finish(self) -> None:
        reason = "its program is done with it"
        self._work.drain(reason)
        if not self._ended.wait(self._settings.grace + RELEASE_DEADLINE + GOODBYE):
            log.warning("leaving a thread behind: a handler would not end")
        self._work.close(reason)


def _limits(settings: Settings) -> Limits:
    return Limits(
        queues=None,
        lease_seconds=settings.lease_seconds,
        poll_interval=settings.poll_interval,
        grace=settings.grace,
        max_memory_mb=settings.max_memory_mb,
        max_cpu_percent=settings.max_cpu_percent,
    )
