"""From settings to a running process, and to its orderly end."""

from __future__ import annotations

import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from jobrunner import logs
from jobrunner.background.operations import Operations
from jobrunner.background.reaper import OUTAGE_SHARE, reclaim_all
from jobrunner.background.schedules import declare
from jobrunner.db import schema
from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database, open_database
from jobrunner.db.hints import Hints
from jobrunner.db.lock import PATIENCE, FileLock
from jobrunner.db.notes import CANCEL
from jobrunner.errors import DatabaseUnavailable, InvalidInput, SettingsError
from jobrunner.handlers import load as load_handlers
from jobrunner.node.worker import RELEASE_DEADLINE, Limits
from jobrunner.queue import views
from jobrunner.runtime import duties
from jobrunner.runtime.process import Process
from jobrunner.runtime.work import CONNECTIONS, Work
from jobrunner.settings import DEFAULT_PORT, Settings, check_door, check_tls

if TYPE_CHECKING:
    from jobrunner.runtime.server import Server

API_CONNECTIONS = 4
DUTY_CONNECTIONS = 1  # where nothing but the duties needs one: they take turns
GARBAGE_EVERY = 10_000  # new objects between two looks for cycles; at Python's 700 they took a fifth of a drain
DATABASE_WITHIN = 30.0  # seconds that a starting process waits for its database
GOODBYE_AFTER = RELEASE_DEADLINE + 5.0  # seconds after the grace at which a loop that does not end is left to itself
END_AFTER = GOODBYE_AFTER + 5.0  # ... at which the process ends, whatever it waits for: a dead link held one for 37 s
LAST_WORDS = 1.0  # seconds in which a process that ends by force may say so
LOOK_EVERY = 0.5  # seconds after which the main thread wakes: only then does it see a signal that another one caught
WORKER_ENDED, SERVER_ENDED, SIGNAL = "worker ended", "server ended", "signal"

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class Plan:
    """What to run. ``make_app`` builds the ASGI application of this process; it is called once, if it serves.

    Without ``fires`` schedules are left to other processes. ``on_ready`` is called in a thread of its own when
    everything runs.
    """

    role: Literal["up", "worker", "api"]
    make_app: Callable[[Process], Any]
    once: bool = False
    until_empty: bool = False
    idle_timeout: float | None = None
    fires: bool = True
    on_ready: Callable[[Process], None] | None = None

    @property
    def works(self) -> bool:
        """Whether this process claims tasks."""
        return self.role != "api"


def run(settings: Settings, plan: Plan) -> int:
    """Run until a signal, a shutdown or the plan's own end; returns the exit code. Call it in the main thread.

    SIGTERM and SIGINT drain: no new claims, what runs may finish within ``grace``, the rest is given back uncharged.
    The second signal hurries. Raises SettingsError, DatabaseLocked, SchemaMismatch, HandlerError and
    DatabaseUnavailable before anything runs.
    """
    inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
    _own_signals(inbox)
    load_handlers(settings.handlers)
    with ExitStack() as parts:
        forced_end = _ForcedEnd()
        parts.callback(forced_end.cancel)  # after all else: whatever is left to close may wait as well
        connections = CONNECTIONS if plan.works else DUTY_CONNECTIONS
        outage = OUTAGE_SHARE * settings.lease_seconds
        database = open_database(settings.url, pool_size=connections, outage=outage)
        lock = FileLock(database.url.database or "")
        # Last of all: it says that nobody else touches the file. A writer that does not let go keeps it to the exit.
        parts.callback(let_go, database, lock)
        if settings.is_sqlite:
            lock.take(patience=PATIENCE)  # before the port: that the file is in use is what its user has to know
        server = _server(settings, plan)
        if server is not None:
            parts.callback(server.stop)
            lock.tell(server.url)
        if not _patiently(
            partial(prepare_schema, database, settings, migrate=plan.role == "up" or settings.is_sqlite), inbox
        ):
            return 0
        if server is not None and not _patiently(partial(_check_door, database, settings), inbox):
            return 0
        return _run(settings, plan, database, server, inbox, parts, forced_end)


def let_go(database: Database, lock: FileLock) -> None:
    """Close the database, and give its file to others once nobody here writes to it any more."""
    if database.close():
        lock.drop()


def _run(
    settings: Settings,
    plan: Plan,
    database: Database,
    server: Server | None,
    inbox: queue.SimpleQueue[str],
    parts: ExitStack,
    forced_end: _ForcedEnd,
) -> int:
    works: list[Work] = []  # one, once it is made, in a process that works

    def heard(topic: str, *, here: bool = False) -> None:
        if not ends.heard(topic):
            for work in works:
                pass_on(topic, work, here)

    hints = Hints(database, heard, own=partial(heard, here=True), listen=plan.works, ends=server is not None)
    ends = Ends(hints.tell, hears=plan.works)
    served = database if settings.is_sqlite else open_database(settings.url, pool_size=API_CONNECTIONS)
    parts.callback(served.dispose)
    process = Process(settings, served, hints, ends, url=server.url if server else None, inbox=inbox)
    work = None
    if plan.works:
        work = Work(
            settings,
            database,
            ends,
            process.url,
            limits(settings, plan),
            lambda: process.inbox.put(WORKER_ENDED),
        )
        process.identity, process.state = work.identity, work.state
        works.append(work)
        gc.freeze()  # what is loaded stays: no look for garbage has to go through it
        gc.set_threshold(GARBAGE_EVERY)
        if not _patiently(work.start, inbox):
            return 0
    hints.start()
    operations = Operations(database, ended=ends.ended, cancel_hint=process.cancel_hint, wake=process.wake)
    if settings.is_sqlite and not plan.fires:
        log.warning("no schedule fires: a SQLite file has no other process that would do it")
    ticking = duties.start(database, settings, process.wake, operations, fires=plan.fires)
    if server is not None:
        server.start(plan.make_app(process), lambda: process.inbox.put(SERVER_ENDED))
    log.info("ready", role=plan.role, url=process.url, node=process.identity.id if process.identity else None)
    if plan.on_ready is not None:
        threading.Thread(target=plan.on_ready, args=(process,), name="on-ready", daemon=True).start()
    reason = _supervise(process, work, forced_end)
    ticking.stop()
    code = process.exit_code
    process.draining = True  # for those who wait at the server: it ends when they have their answers
    if server is not None:
        server.stop()
    hints.stop()
    if work is not None:
        code = work.close(reason) or code
        if work.alive():
            _end_by_force(code, "a handler would not end")
    log.info("stopped", reason=reason, code=code)
    if work is not None and work.writes():
        _end_by_force(code, "a write does not come back")
    return code


class _ForcedEnd:
    """Ends the process at the earliest of the moments that it was set to, unless it is cancelled before."""

    def __init__(self) -> None:
        self._at = float("inf")
        self._timer: threading.Timer | None = None

    def set(self, seconds: float, process: Process) -> None:
        at = time.monotonic() + seconds
        if at < self._at:  # a later signal hurries, and puts nothing off
            self.cancel()
            self._at = at
            self._timer = threading.Timer(seconds, lambda: _end_by_force(process.exit_code, "it would not end"))
            self._timer.daemon = True
            self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _supervise(process: Process, work: Work | None, forced_end: _ForcedEnd) -> str:
    """Wait for the end, and see to it that it comes. Returns the reason."""
    reason = ""
    grace_ends = deadline = float("inf")
    while True:
        told = ""
        with suppress(queue.Empty):
            told = process.inbox.get(timeout=LOOK_EVERY)
        moment = time.monotonic()
        if moment > deadline or (moment > grace_ends and work is not None and work.stalled()):
            log.error("the worker's loop does not end; ending the process")
            return reason
        if not told:
            continue
        if told == SERVER_ENDED and not reason:
            process.exit_code = 1
        hurry = bool(reason) and told.startswith(SIGNAL)
        grace = 0.0 if hurry or told == WORKER_ENDED else process.settings.grace
        forced_end.set(grace + END_AFTER, process)
        if told == WORKER_ENDED or work is None:
            return reason or told
        reason = reason or told
        process.draining = True
        work.drain(reason, hurry=hurry)
        grace_ends = min(grace_ends, moment + grace)
        deadline = min(deadline, grace_ends + GOODBYE_AFTER)


def pass_on(topic: str, work: Work, here: bool) -> None:
    """Tell the worker of a hint; ``here`` where it comes from this process."""
    if topic == CANCEL:
        work.heartbeat.look()
    elif here:  # in the thread of a request, say, whose answer shall not wait for a claim
        work.wake()
    else:
        work.heard_of_work()


def _own_signals(inbox: queue.SimpleQueue[str]) -> None:
    def told(number: int, _frame: object) -> None:
        inbox.put(f"{SIGNAL} {signal.Signals(number).name}")  # SimpleQueue.put may be called in a handler

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


def _server(settings: Settings, plan: Plan) -> Server | None:
    """``up`` and ``api`` serve; ``worker`` where a port is set, and on SQLite always: no other process could."""
    if plan.role == "worker" and settings.port is None and not settings.is_sqlite:
        return None
    from jobrunner.runtime.server import Server  # with uvicorn, which a worker without a port has no use for

    check_tls(settings)
    return Server(settings, DEFAULT_PORT if settings.port is None else settings.port)


def limits(settings: Settings, plan: Plan) -> Limits:
    """How the worker of this process works."""
    return Limits(
        queues=settings.queues or None,
        lease_seconds=settings.lease_seconds,
        poll_interval=settings.poll_interval,
        grace=settings.grace,
        max_memory_mb=settings.max_memory_mb,
        max_cpu_percent=settings.max_cpu_percent,
        once=plan.once,
        until_empty=plan.until_empty,
        idle_timeout=plan.idle_timeout,
    )


def prepare_schema(database: Database, settings: Settings, *, migrate: bool) -> None:
    """Migrate where that is this process's business, check the schema, and take up what a dead owner left."""
    if migrate:
        _migrate(database)
    with database.begin() as conn:
        schema.check(conn)
    if settings.is_sqlite:
        reclaim_all(database)  # holding the lock proves that nobody else works
    try:
        with database.begin() as conn:
            declare(conn, [dict(entry) for entry in settings.schedules])
    except InvalidInput as error:
        raise SettingsError(f"schedules in the configuration file: {error}") from error


def _check_door(database: Database, settings: Settings) -> None:
    with database.begin() as conn:
        check_door(settings, has_key=views.is_any_key(conn))  # one that has ended keeps it closed


def _migrate(database: Database) -> None:
    with database.begin() as conn:
        if schema.is_newest(conn):
            return
    from jobrunner.db import migrate  # only now: it brings all of Alembic

    migrate.upgrade_owned(database)


def _patiently(prepare: Callable[[], None], inbox: queue.SimpleQueue[str]) -> bool:
    """Wait until the database answers and stays for all of ``prepare``, which is begun anew where it breaks off.

    False when a signal came first. Raises DatabaseUnavailable in the end.
    """
    deadline = time.monotonic() + DATABASE_WITHIN
    while True:
        try:
            prepare()
        except DatabaseUnavailable as error:
            left = deadline - time.monotonic()
            if left < 0:
                raise
            log.warning("waiting for the database", gives_up_in=round(left), error=str(error))
            with suppress(queue.Empty):
                log.info("stopped", reason=inbox.get(timeout=1.0))
                return False
        else:
            return True


def _end_by_force(code: int, why: str) -> None:
    """A handler that never yields, or a dead link, holds a thread that nothing in this process can end."""
    # Before a word: a log that nobody reads any more holds whoever writes into it.
    last = threading.Timer(LAST_WORDS, os._exit, (code,))
    last.daemon = True
    last.start()
    try:
        log.warning("leaving a thread behind", why=why, code=code)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
