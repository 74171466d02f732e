"""Hints between processes: "there is work", "somebody cancelled". Polling is the truth; a lost hint costs a moment.

PostgreSQL: NOTIFY on one channel, from a connection of its own after the commit, coalesced. In every enqueue it would
cost three quarters of the throughput, since such commits queue behind one lock of the server. SQLite, being one
process, needs no wire.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from jobrunner.db.engine import DEADLINE, Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger

CHANNEL = "jobrunner"
WORK, CANCEL = "work", "cancel"
COALESCE = 0.005  # seconds between two NOTIFYs of one process
CHECK = 15.0  # seconds of silence after which the listening connection is tried
RECONNECT = 2.0  # seconds between two tries to listen again

log = get_logger(__name__)


def notify(conn: Connection, topic: str) -> None:
    """Hint from a short-lived process, in a transaction of its own after the one that matters."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SELECT pg_notify(%s, %s)", (CHANNEL, topic))


class Hints:
    """Sends hints and hears those of others; ``heard`` is called in a thread of this object, with the topic.

    ``listen`` is False for a process that only sends. A hint that this process sends reaches its own ``heard`` too.
    """

    def __init__(self, database: Database, heard: Callable[[str], None], *, listen: bool = True) -> None:
        self._database = database
        self._heard = heard
        self._remote = not database.is_sqlite
        self._waiting: set[str] = set()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send_loop, name="hints-send", daemon=True)]
        if listen and self._remote:
            self._threads.append(threading.Thread(target=self._listen_loop, name="hints-listen", daemon=True))

    def start(self) -> None:
        """Start sending and listening."""
        if self._remote:
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Stop both; a hint that waits is sent first, as far as that takes no longer than two seconds."""
        self._stopped.set()
        with self._changed:
            self._changed.notify()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=2)

    def send(self, topic: str) -> None:
        """Hint at once to this process, and within milliseconds to all others. Never blocks, never fails."""
        self._heard(topic)
        if self._remote:
            with self._changed:
                self._waiting.add(topic)
                self._changed.notify()

    def _send_loop(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopped.is_set():
                    self._changed.wait()
                topics, self._waiting = self._waiting, set()
            if not topics:
                return
            try:
                with self._database.single() as conn:
                    for topic in topics:
                        notify(conn, topic)
            except DatabaseUnavailable as error:
                log.debug("hint not sent", error=str(error))
            except Exception:
                log.exception("hint not sent")
            self._stopped.wait(COALESCE)

    def _listen_loop(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except DatabaseUnavailable as error:
                log.debug("not listening for hints, polling goes on", error=str(error))
                self._stopped.wait(RECONNECT)
            except Exception:
                log.exception("not listening for hints, polling goes on")
                self._stopped.wait(RECONNECT)

    def _listen(self) -> None:
        with self._database.detached() as link:
            link.execute(f"LISTEN {CHANNEL}")
            self._heard(WORK)  # whatever was hinted at while nobody listened
            self._hear(link)

    def _hear(self, link: Any) -> None:
        quiet_since = time.monotonic()
        while not self._stopped.is_set():
            for note in link.notifies(timeout=1.0, stop_after=1):
                quiet_since = time.monotonic()
                self._heard(note.payload)
            if time.monotonic() - quiet_since > CHECK:
                with self._database.guard(link, DEADLINE):
                    link.execute("SELECT 1")
                quiet_since = time.monotonic()
