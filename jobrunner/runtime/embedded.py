"""A worker inside somebody else's program: the same parts as a process of its own, but no signals and no server."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import ExitStack
from functools import partial

from jobrunner.background.operations import Operations
from jobrunner.background.reaper import OUTAGE_SHARE
from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database, open_database
from jobrunner.db.hints import Hints
from jobrunner.db.lock import PATIENCE, FileLock
from jobrunner.db.notes import CANCEL, WORK
from jobrunner.handlers import find
from jobrunner.handlers import load as load_handlers
from jobrunner.node.worker import RELEASE_DEADLINE
from jobrunner.runtime import duties
from jobrunner.runtime.run import Plan, let_go, limits, pass_on, prepare_schema
from jobrunner.runtime.work import CONNECTIONS, Work
from jobrunner.settings import Settings

PLAN = Plan("worker", lambda _process: None)  # on SQLite it migrates, on PostgreSQL it refuses an old schema


class Embedded:
    """The database of ``settings``, and a worker on it once :meth:`work` is called. Safe in threads.

    ``ends`` tells who waits.

    A SQLite file is migrated, and stays this process's until :meth:`close`; a forked copy of the process has no part in
    it. Raises DatabaseLocked where another owns it, SchemaMismatch, HandlerError and DatabaseUnavailable.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.model_copy(update={"schedules": ()})  # to declare them is the business of a node
        self._pid = os.getpid()
        self._starting = threading.Lock()
        self._work: Work | None = None
        self._parts = ExitStack()
        load_handlers(settings.handlers)
        self.database: Database = open_database(
            settings.url, pool_size=CONNECTIONS, outage=OUTAGE_SHARE * settings.lease_seconds
        )
        lock = FileLock(self.database.url.database or "")
        with ExitStack() as undo:
            undo.callback(let_go, self.database, lock)
            if settings.is_sqlite:
                lock.take(patience=PATIENCE)
            prepare_schema(self.database, self.settings, migrate=settings.is_sqlite)
            self._hints = Hints(self.database, self._heard, own=partial(self._heard, here=True), ends=True)
            self.ends = Ends(self._hints.tell)
            self._hints.start()
            undo.callback(self._hints.stop)
            self._parts = undo.pop_all()

    @property
    def inherited(self) -> bool:
        """Whether it is the parent's: threads are not copied, and the connections and the node are still in use."""
        return self._pid != os.getpid()

    @property
    def works(self) -> bool:
        """Whether a worker runs here."""
        return self._work is not None and self._work.alive()

    def came_too_late(self, task_type: str) -> bool:
        """Whether this process has a handler for it that was declared after its worker began, which so never runs."""
        return self._work is not None and task_type not in self._work.identity.types and find(task_type) is not None

    @property
    def node_id(self) -> str | None:
        """The id of this process as a node; None where it is none."""
        return self._work.identity.id if self._work is not None else None

    def work(self) -> None:
        """Become a node, and do its duties, where this process is none yet."""
        with self._starting:
            if self._work is not None:
                return
            work = Work(self.settings, self.database, self.ends, None, limits(self.settings, PLAN), lambda: None)
            work.start()
            self._work = work
            atexit.register(self._leave)
            wake, cancel_hint = partial(self.hint, WORK), partial(self.hint, CANCEL)
            operations = Operations(self.database, ended=self.ends.ended, cancel_hint=cancel_hint, wake=wake)
            ticking = duties.start(self.database, self.settings, wake, operations)
            self._parts.callback(ticking.stop)

    def hint(self, topic: str) -> None:
        """Tell this worker and all others at once of something, as ``jobrunner.db.notes`` names it."""
        self._hints.send(topic)

    def close(self) -> None:
        """Let what runs come to its end within the grace, give back the rest, and let the database go."""
        if self.inherited:
            return
        atexit.unregister(self._leave)
        with self._starting:
            if self._work is not None:
                self._work.drain("its program is done with it")
                self._work.join(self.settings.grace + RELEASE_DEADLINE)
                self._work.close("its program is done with it")
            self._parts.close()

    def _leave(self) -> None:
        """Say goodbye and no more: at the interpreter's end no thread does anything new, so nothing can drain.

        What still runs is taken back from this node as from a dead one.
        """
        if self._work is not None and not self.inherited:
            self._work.heartbeat.stop("its program ended")

    def _heard(self, topic: str, *, here: bool = False) -> None:
        if not self.ends.heard(topic) and self._work is not None:
            pass_on(topic, self._work, here)
