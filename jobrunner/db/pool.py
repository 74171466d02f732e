"""Connections that stay open between two uses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

MADE = "made"  # the key in ``Connection.info`` that tells how often all had been given up when it was made


class Pool:
    """Up to ``size`` connections of an engine, each for one user at a time. Safe in threads.

    In place of SQLAlchemy's own, which makes each connection anew for each use: that costs 0.2 ms, a third of what it
    takes to add a task. The latest given back is the first to be taken. ``engine`` must not pool by itself.
    """

    def __init__(self, engine: Engine, size: int) -> None:
        self.engine = engine
        self._size = size
        self._open = 0
        self._idle: list[Connection] = []
        self._changed = threading.Condition()
        self._waiting = 0
        self._given_up = 0
        self._lent = threading.local()  # ``conn``, of this thread alone, and ``idle``, the same while it is not in use

    def take(self, patience: float) -> Connection:
        """A connection outside any transaction; raises PoolTimeout after so many seconds, or what connecting raises."""
        lent: Connection | None = getattr(self._lent, "idle", None)
        if lent is not None:
            self._lent.idle = None
            return lent
        until = 0.0
        while True:
            try:
                return self._idle.pop()  # one step, which needs no lock
            except IndexError:
                until = until or time.monotonic() + patience
            if self._may_open(until):
                return self._opened()

    def give_back(self, conn: Connection) -> None:
        """Keep it for the next one; one that is broken closes itself and all that are idle, which saw the same."""
        if getattr(self._lent, "conn", None) is conn:
            self._lent.idle = None if conn.invalidated or conn.closed else conn
            return
        if conn.invalidated or conn.closed:
            conn.close()
            self._one_less()
            self.close_idle()
            return
        # Options were set by whose code it was lent to, and would hold for the next user too.
        if conn.get_execution_options() or (self._given_up and conn.info.get(MADE, 0) != self._given_up):
            conn.close()
            self._one_less()
            return
        self._idle.append(conn)
        if self._waiting:  # looked at after it was put there: who waits looks there after he said so
            with self._changed:
                self._changed.notify()

    @contextmanager
    def lent(self, conn: Connection) -> Iterator[None]:
        """Inside the block this thread takes this connection, while it has it not in use, and no other."""
        self._lent.conn = self._lent.idle = conn
        try:
            yield
        finally:
            self._lent.conn = self._lent.idle = None

    def give_up(self) -> None:
        """Close all that are open: what is in use as soon as it is given back."""
        self._given_up += 1
        self.close_idle()

    def close_idle(self) -> None:
        """Close what is not in use."""
        with suppress(IndexError):
            while True:
                conn = self._idle.pop()
                with suppress(DBAPIError):
                    conn.close()
                self._one_less()

    def _opened(self) -> Connection:
        given_up = self._given_up
        try:
            conn = self.engine.connect()
        except BaseException:
            self._one_less()
            raise
        conn.info[MADE] = given_up
        return conn

    def _may_open(self, until: float) -> bool:
        """True where one more may be opened, which then counts; False as soon as one is idle again."""
        with self._changed:
            self._waiting += 1
            try:
                while not self._idle:
                    if self._open < self._size:
                        self._open += 1
                        return True
                    if not self._changed.wait(until - time.monotonic()):
                        self._changed.notify()  # if we were told at the last moment, another one shall be
                        raise PoolTimeout("no connection was free in time")
                return False
            finally:
                self._waiting -= 1

    def _one_less(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify()
