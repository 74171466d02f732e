"""Opening the database: pools, pragmas, deadlines, and what counts as unavailable."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.string import TextLoader
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from jobrunner.db.deadline import Watchdog
from jobrunner.errors import DatabaseBusy, DatabaseUnavailable, SettingsError

DEADLINE = 10.0  # seconds for one of our transactions, all of which are short
CONNECT_TIMEOUT = 5  # seconds
IDLE_IN_TRANSACTION = 15  # seconds until the server frees the locks of a process that was stopped in mid-transaction
READERS = 4  # read-only connections to a SQLite file

# 25006: a demoted primary that still answers; 57P0x: shutting down, crashed, starting. None of them heals by itself.
DEAD_STATES = frozenset({"25006", "57P01", "57P02", "57P03"})

_LOCKED_STATES = frozenset({"55P03", "40P01"})  # lock_timeout, deadlock

_watchdog = Watchdog()


class Database:
    """One process's way to the database. Safe in threads; never crosses a fork or spawn.

    ``begin`` gives a connection inside a transaction that commits at the end of the block; ``single`` one for exactly
    one statement, which commits by itself; ``read`` one for looking. All raise :class:`DatabaseUnavailable` when the
    database does not answer within the deadline, cannot be reached, or breaks off. SQLite has one writing connection
    and a few read-only ones; PostgreSQL one pool for both.
    """

    def __init__(self, url: str, *, pool_size: int = 4, spare: int = 0) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._broken_at: float | None = None
        self._closed = False
        self._first_used = self._asked_at = _clock()
        if self.is_sqlite:
            self.engine = self._committing = _sqlite_engine(self.url, read_only=False)
            self._reader = _sqlite_engine(self.url, read_only=True)
        else:
            self.engine = _postgresql_engine(self.url, pool_size, spare)
            # In autocommit each statement is a transaction; reading committed rows is what a transaction would do too.
            self._committing = self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def begin(
        self, deadline: float = DEADLINE, *, idle: float | None = None, patience: float | None = None
    ) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception.

        ``idle`` (seconds, PostgreSQL) is how long it may do nothing, where that is not the connection's own limit;
        ``patience`` (seconds) how long a statement waits for another's transaction until DatabaseBusy is raised.
        SQLite has nobody to wait for.
        """
        with self._guarded(self.engine, deadline) as conn, conn.begin():
            if idle is not None:
                conn.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {int(idle * 1_000)}")
            if patience is not None and not self.is_sqlite:
                conn.exec_driver_sql(f"SET LOCAL lock_timeout = {int(patience * 1_000)}")
            yield conn

    @contextmanager
    def single(self, deadline: float = DEADLINE) -> Iterator[Connection]:
        """A connection for one statement that is a transaction of its own: on PostgreSQL two round trips fewer."""
        with self._guarded(self._committing, deadline) as conn, conn.begin():
            yield conn

    @contextmanager
    def read(self, deadline: float = DEADLINE) -> Iterator[Connection]:
        """A connection for statements that change nothing."""
        with self._guarded(self._reader, deadline) as conn, conn.begin():
            yield conn

    @contextmanager
    def _guarded(self, engine: Engine, deadline: float) -> Iterator[Connection]:
        try:
            with engine.connect() as conn, _watchdog.guard(conn.connection.dbapi_connection, deadline):
                if self._closed:  # looked at with the connection in hand: see close
                    raise DatabaseUnavailable("this process has closed its database")
                yield conn
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            if _is_mistake(error):
                raise
            if _is_busy(error):
                raise DatabaseBusy(_reason(error)) from error
            if _is_outage(error):
                self._broken_at = _clock()
            raise DatabaseUnavailable(_reason(error)) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                self._broken_at = _clock()
                raise DatabaseUnavailable(_reason(error)) from error
            raise

    @contextmanager
    def detached(self) -> Iterator[Any]:
        """A driver's connection outside the pool, in autocommit, closed at the end of the block (PostgreSQL)."""
        link: Any = None
        try:
            pooled = self.engine.raw_connection()
            link = pooled.dbapi_connection
            pooled.detach()
            link.rollback()
            link.autocommit = True
            yield link
        except (psycopg.Error, DBAPIError, PoolTimeout) as error:  # of any kind: a standby refuses LISTEN oddly
            raise DatabaseUnavailable(_reason(error)) from error
        finally:
            if link is not None:
                link.close()

    def guard(self, link: Any, seconds: float) -> AbstractContextManager[None]:
        """A deadline for what is done on a detached connection inside the block."""
        return _watchdog.guard(link, seconds)

    def unbroken_for(self, absence: float) -> float:
        """Seconds since this process last saw the database unavailable, was itself away, or opened it.

        It was away (stopped, or its machine asleep) where nobody asked this for longer than ``absence`` seconds.
        """
        asked_at, self._asked_at = self._asked_at, _clock()
        if self._asked_at - asked_at > absence:
            self._broken_at = self._asked_at
        return self._asked_at - (self._broken_at or self._first_used)

    def ever_broken(self) -> bool:
        """Whether this process ever saw the database unavailable, or was itself away."""
        return self._broken_at is not None

    def close(self) -> bool:
        """Let no transaction begin any more, and wait for SQLite's writer. False where it does not let go in time.

        Only then may the file's lock be dropped: a thread that still wrote would make two writers.
        """
        self._closed = True
        free = True
        if self.is_sqlite:
            self._reader.dispose()
            try:
                with self.engine.connect() as conn:  # so that the one file holds everything: it may be copied now
                    link: Any = conn.connection.dbapi_connection
                    link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except (DBAPIError, PoolTimeout, sqlite3.Error):
                free = False
        self.dispose()
        return free

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()
        self._reader.dispose()


def open_database(url: str, *, pool_size: int = 4, spare: int = 0) -> Database:
    """Open ``url`` (``sqlite:///file`` or ``postgresql+psycopg://...``) without connecting yet.

    ``spare`` connections beyond the pool (PostgreSQL) are opened when all of it is in use, and closed after use.
    """
    return Database(url, pool_size=pool_size, spare=spare)


def _is_mistake(error: Exception) -> bool:
    """A wrong statement, which sqlite3 calls an OperationalError too: no second try would help."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_ERROR


def _is_busy(error: Exception) -> bool:
    """Whether somebody else's lock was in the way: waited for too long, or for each other."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _LOCKED_STATES


def _is_outage(error: Exception) -> bool:
    """Whether the link or the server is gone; not a deadlock, a time-out of ours, or a full disk of a living one."""
    if isinstance(error, PoolTimeout):
        return False
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state is None or state[:2] == "08" or state in DEAD_STATES


def _clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _reason(error: Exception) -> str:
    first_line = str(getattr(error, "orig", None) or error).strip().splitlines()[:1]
    return first_line[0] if first_line else type(error).__name__


def _postgresql_engine(url: URL, pool_size: int, spare: int) -> Engine:
    threshold = url.query.get("prepare_threshold")
    # psycopg prepares a statement at its fifth use. Behind PgBouncer before 1.21 in transaction mode the prepared name
    # is met on another server connection: ?prepare_threshold=none turns it off.
    prepare = 5 if threshold is None else None if threshold in ("none", "0") else int(str(threshold))
    engine = create_engine(
        url.difference_update_query(["prepare_threshold"]),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=spare,
        pool_timeout=DEADLINE,
        pool_use_lifo=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "prepare_threshold": prepare,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "application_name": "jobrunner",
        },
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.adapters.register_loader("jsonb", TextLoader)  # json stays: SQLAlchemy's own reflection reads it
        connection.autocommit = True
        with _watchdog.guard(connection, CONNECT_TIMEOUT):
            connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION}s'")
            connection.execute("SET timezone = 'UTC'")
            # Our statements take milliseconds, but the planner thinks some of them dear: compiling one took 357 ms.
            connection.execute("SET jit = off")
            # A plan that was kept since the queue was empty reads the whole table: 2 s for a claim from 60,000, until
            # the table is analysed. To plan each time takes 0.1 to 0.5 ms, and finds plans that are better by as much.
            connection.execute("SET plan_cache_mode = force_custom_plan")
        connection.autocommit = False

    @event.listens_for(engine, "handle_error")
    def _dead(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", None) in DEAD_STATES:
            context.is_disconnect = True

    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # payloads and results are its owner's
    except OSError as error:
        raise SettingsError(f"data_dir: {folder} cannot be made: {error.strerror}; set JOBRUNNER_DATA_DIR") from error


def _sqlite_engine(url: URL, *, read_only: bool) -> Engine:
    path = Path(url.database or "").absolute()
    if not read_only:
        _make_folder(path.parent)
    # One writer: SQLite before 3.51.3 can corrupt its log when two connections write and checkpoint at once, and
    # Debian 12 ships 3.40. Read-only connections never checkpoint.
    target = f"{path.as_uri()}?mode={'ro' if read_only else 'rwc'}"  # as a URI: a path may hold # and ?
    engine = create_engine(
        url,
        creator=lambda: sqlite3.connect(target, uri=True, check_same_thread=False, timeout=DEADLINE),
        poolclass=QueuePool,
        pool_size=READERS if read_only else 1,
        max_overflow=0,
        pool_timeout=DEADLINE,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.create_function("jobrunner_now", 0, lambda: time.time_ns() // 1_000)
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
