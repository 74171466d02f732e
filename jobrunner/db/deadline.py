"""A deadline that holds on a dead link.

A statement that waits on a half-open connection returns when the peer answers, which may be never; cancelling it asks
that same peer. Shutting the socket down from another thread ends the wait at once (measured: 2.00 s for a deadline of
2 s, where a cancelled await took 12 s).
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

NEVER = float("inf")


class Watchdog:
    """Shuts down the sockets of connections that stay armed past their deadline."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Watch nothing: a forked copy of the process has no thread that looks, and its parent's links are not its."""
        self._armed: dict[int, tuple[float, Any]] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._next_look = NEVER
        self._thread: threading.Thread | None = None

    @contextmanager
    def guard(self, dbapi_connection: Any, seconds: float) -> Iterator[None]:
        """End every wait on this connection after ``seconds``; the statement then raises OperationalError."""
        watch = self.arm(dbapi_connection, seconds)
        try:
            yield
        finally:
            self.disarm(watch)

    def arm(self, dbapi_connection: Any, seconds: float) -> int:
        """The beginning of ``guard``; returns what ends it."""
        until = time.monotonic() + seconds
        with self._lock:
            self._armed[id(dbapi_connection)] = (until, dbapi_connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="db-deadlines", daemon=True)
                self._thread.start()
            if until < self._next_look:
                self._next_look = until
                self._changed.notify()
        return id(dbapi_connection)

    def disarm(self, watch: int) -> bool:
        """The end of ``guard``; False where the deadline had passed."""
        with self._lock:
            return self._armed.pop(watch, None) is not None

    def _watch(self) -> None:
        # Whoever ends in time wakes nobody: the next look stays where it was, and then finds a later deadline or none.
        # Else each statement would wake this thread, which cost an idle worker a fifth of all that it did.
        with self._changed:
            while True:
                now = time.monotonic()
                for key, (until, link) in list(self._armed.items()):
                    if until <= now:
                        del self._armed[key]
                        _shut_down(link)
                self._next_look = min((until for until, _ in self._armed.values()), default=NEVER)
                self._changed.wait(None if self._next_look == NEVER else self._next_look - now)


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


WATCHDOG = Watchdog()
"""The one of this process."""

if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=WATCHDOG.begin_anew)
