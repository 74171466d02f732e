"""The steps of a rehearsed attempt: each is written down as it is reached, and at one of them the process ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, event

KILLED = 86  # the exit code of a process that was ended at a step
SHOWN = 60  # characters of a statement
_NO_STEPS = ("BEGIN", "SET LOCAL", "PRAGMA")  # nothing is different after them


class Steps:
    """Counts the steps of one process and ends it at the one of this number; 0 ends it at none.

    It ends as by a kill: no ``finally`` block runs, nothing is flushed, the system closes what was
    open. Safe in threads.
    """

    def __init__(self, path: str, kill_at: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._kill_at = kill_at
        self._count = 0
        self._counting = threading.Lock()
        self._here = threading.local()  # what a thread is about
        self.on = False  # whether the task is at work

    def reach(self, what: str) -> None:
        """Pass a step."""
        if not self.on:
            return
        place: str = getattr(self._here, "place", "")
        name = f"{place}: {what}" if place else what
        with self._counting:
            self._count += 1
            os.write(self._file, " ".join(name.split()).encode(errors="replace") + b"\n")
            if self._count == self._kill_at:
                os._exit(KILLED)

    @contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """The steps of this thread inside the block belong to ``place``."""
        former = getattr(self._here, "place", "")
        self._here.place = place
        try:
            yield
        finally:
            self._here.place = former

    def watch(self) -> None:
        """Make a step before and after each statement and each COMMIT of every SQLAlchemy engine of this process."""
        watched: set[int] = set()

        @event.listens_for(Engine, "before_cursor_execute")
        def _before(_conn: Connection, _cursor: Any, text: str, *_: Any) -> None:
            if not text.startswith(_NO_STEPS):
                self.reach(f"before SQL {_shown(text)}")

        @event.listens_for(Engine, "after_cursor_execute")
        def _after(_conn: Connection, _cursor: Any, text: str, *_: Any) -> None:
            if not text.startswith(_NO_STEPS):
                self.reach(f"after SQL {_shown(text)}")

        @event.listens_for(Engine, "commit")
        def _commit(conn: Connection) -> None:
            if id(conn.dialect) not in watched:  # an engine keeps its dialect for good
                watched.add(id(conn.dialect))
                self._tell_after_commit(conn.dialect)
            self.reach("before COMMIT")

    def _tell_after_commit(self, dialect: Dialect) -> None:
        commit = dialect.do_commit

        def do_commit(connection: Any) -> None:
            commit(connection)
            self.reach("after COMMIT")

        setattr(dialect, "do_commit", do_commit)  # noqa: B010  no event comes after a COMMIT, and a method may not be assigned to plainly


def _shown(text: str) -> str:
    said = " ".join(text.split())
    return said if len(said) <= SHOWN else f"{said[: SHOWN - 3]}..."
