"""Connections that stay open between two uses."""

from __future__ import annotations

import threading
from contextlib import suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Pool:
    """Up to ``size`` connections of an engine, each for one user at a time. Safe in threads.

    In place of SQLAlchemy's own, which makes each connection anew for each use: that costs 0.2 ms, a third of what it
    takes to add a task. The latest given back is the first to be taken. ``engine`` must not pool by itself.
    """

    def __init__(self, engine: Engine, size: int) -> None:
        self.engine = engine
        self._turns = threading.BoundedSemaphore(size)
        self._idle: list[Connection] = []

    def take(self, patience: float) -> Connection:
        """A connection outside any transaction; raises PoolTimeout after so many seconds, or what connecting raises."""
        if not self._turns.acquire(timeout=patience):
            raise PoolTimeout(f"no connection was free within {patience:g} s")
        try:
            while self._idle:
                with suppress(IndexError):  # another thread was quicker
                    return self._idle.pop()
            return self.engine.connect()
        except BaseException:
            self._turns.release()
            raise

    def give_back(self, conn: Connection) -> None:
        """Keep it for the next one; one that is broken closes itself and all that are idle, which saw the same."""
        try:
            if conn.invalidated or conn.closed:
                conn.close()
                self.close_idle()
            else:
                self._idle.append(conn)
        finally:
            self._turns.release()

    def close_idle(self) -> None:
        """Close what is not in use."""
        while self._idle:
            with suppress(IndexError, DBAPIError):
                self._idle.pop().close()
