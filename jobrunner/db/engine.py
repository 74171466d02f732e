"""Opening the database, and its connections: who may use them, for how long, and what counts as unavailable."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, NoReturn

import psycopg
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobrunner.db.deadline import WATCHDOG
from jobrunner.db.direct import OWN
from jobrunner.db.driver import told
from jobrunner.db.faults import is_busy, is_demoted, is_mistake, is_no_database, reason, refuses_all
from jobrunner.db.pool import Pool
from jobrunner.db.postgresql import IDLE, open_server
from jobrunner.db.sqlite import open_file
from jobrunner.errors import DatabaseBusy, DatabaseUnavailable, SchemaMismatch

DEADLINE = 10.0  # seconds for one of our transactions, all of which are short
READERS = 4  # connections that only look
OUTAGE = 12.0  # seconds without an answer that count as an outage


class Database:
    """One process's way to the database. Safe in threads; never crosses a fork or spawn.

    ``begin`` gives a connection inside a transaction that commits at the end of the block; ``single`` one for exactly
    one statement, which commits by itself; ``read`` one for looking. All raise :class:`DatabaseUnavailable` when the
    database does not answer within the deadline, cannot be reached, or breaks off. ``outage`` is how many seconds
    without an answer count as one. SQLite has one writing connection and a few read-only ones. PostgreSQL has
    ``pool_size`` connections for the queue's own statements, whose plans are pinned (see
    :mod:`jobrunner.db.postgresql`), and others for everything else: ``read``, and ``begin(free=True)``.
    """

    def __init__(self, url: str, *, pool_size: int = 4, outage: float = OUTAGE) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._closed = False
        self.demotions = 0  # how often the server was found to take no writes any more
        self._outage = outage
        self.refusing = False  # it took no writes when one was last tried; reads that it answers say nothing of that
        self._sound_since = self._answered_at = _clock()
        if self.is_sqlite:
            self._own = self._free = Pool(open_file(self.url, read_only=False), 1)
            self._reading = Pool(open_file(self.url, read_only=True), READERS)
        else:
            self._own = Pool(open_server(self.url, pinned=True), pool_size)
            # In autocommit each statement is a transaction; reading committed rows is what a transaction would do too.
            self._free = self._reading = Pool(open_server(self.url, pinned=False), READERS)
        self.engine = self._own.engine

    @contextmanager
    def begin(
        self,
        deadline: float = DEADLINE,
        *,
        free: bool = False,
        idle: float | None = None,
        patience: float | None = None,
        limit: float | None = None,
    ) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception.

        ``free`` is for statements that are not the queue's own: the server plans them as it likes. ``idle`` (seconds,
        PostgreSQL) is how long it may do nothing, where that is not the connection's own limit; ``patience`` (seconds)
        how long a statement waits for another's transaction until DatabaseBusy is raised. SQLite has nobody to wait
        for. ``limit`` (seconds) is how long a statement may take until the server gives it up, which is no outage:
        left to the deadline it would go on there, and keep its locks. On SQLite it limits them all.
        """
        within = deadline if limit is None or not self.is_sqlite else min(deadline, limit)
        with _Use(self, self._free if free else self._own, within, counts=limit is None) as conn:
            if self.is_sqlite:
                yield conn
                return
            driver: Any = conn.connection.driver_connection
            if idle is None and not conn.info[OWN].guarded:
                idle = IDLE
            try:
                driver.autocommit = False  # by SQLAlchemy's option each use would leave two entries for the end
            except psycopg.Error as error:  # it was closed behind our back
                raise told(conn, "BEGIN", error) from error
            try:
                with conn.begin():
                    if idle is not None:
                        # Ours, whatever the rest may take: a link that died since its last use is found out here.
                        link = conn.connection.dbapi_connection
                        WATCHDOG.arm(link, min(deadline, DEADLINE))
                        conn.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {int(idle * 1_000)}")
                        WATCHDOG.arm(link, deadline)
                    if patience is not None:
                        conn.exec_driver_sql(f"SET LOCAL lock_timeout = {int(patience * 1_000)}")
                    if limit is not None:
                        conn.exec_driver_sql(f"SET LOCAL statement_timeout = {int(limit * 1_000)}")
                    yield conn
            finally:
                _commit_by_itself(conn, driver)

    def single(self, deadline: float = DEADLINE) -> AbstractContextManager[Connection]:
        """A connection for one statement that is a transaction of its own: on PostgreSQL two round trips fewer."""
        return _Use(self, self._own, deadline)

    def read(self, deadline: float = DEADLINE, *, own: bool = False) -> AbstractContextManager[Connection]:
        """A connection for statements that change nothing; ``own`` says that they are the queue's own, and pinned."""
        return _Use(self, self._own if own and not self.is_sqlite else self._reading, deadline)

    @contextmanager
    def detached(self) -> Iterator[Any]:
        """A driver's connection of this thread's own, beside the pool's, in autocommit; closed at the block's end.

        What the thread asks of the database inside the block it asks there as well: the server's process at its other
        end is awake, where another would have to be woken. PostgreSQL only.
        """
        try:
            with self.engine.connect() as conn, self._own.lent(conn):
                yield conn.connection.driver_connection
        except (psycopg.Error, DBAPIError, PoolTimeout) as error:  # of any kind: a standby refuses LISTEN oddly
            raise DatabaseUnavailable(reason(error)) from error

    def guard(self, link: Any, seconds: float) -> AbstractContextManager[None]:
        """A deadline for what is done on a detached connection inside the block."""
        return WATCHDOG.guard(link, seconds)

    def sound_for(self) -> float:
        """Seconds since this process opened the database, or since its last outage: so long without an answer, as where
        the process itself was away, or an error that says that nobody can write.

        A connection that breaks off is none by itself: a pooler or a firewall that ends one now and then would else
        keep everybody from ever judging others.
        """
        moment = _clock()
        return 0.0 if moment - self._answered_at > self._outage else moment - self._sound_since

    @staticmethod
    def clock() -> float:
        """Seconds that also pass while the machine sleeps, where the system can tell."""
        return _clock()

    def saw_outage(self) -> None:
        """Somebody noticed one in another way."""
        self._sound_since = _clock()

    def answered(self) -> None:
        """It has just answered. Called after each use, in any thread."""
        moment = _clock()
        if moment - self._answered_at > self._outage:
            self._sound_since = moment
        self._answered_at = moment

    def close(self) -> bool:
        """Let no transaction begin any more, and wait for SQLite's writer. False where it does not let go in time.

        Only then may the file's lock be dropped: a thread that still wrote would make two writers.
        """
        self._closed = True
        free = True
        if self.is_sqlite:
            self._reading.close_idle()
            try:
                conn = self._own.take(DEADLINE)
                try:  # so that the one file holds everything: it may be copied now
                    link: Any = conn.connection.dbapi_connection
                    link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    self._own.give_back(conn)
            except (DBAPIError, PoolTimeout, sqlite3.Error):
                free = False
        self.dispose()
        return free

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        for pool in (self._own, self._free, self._reading):
            pool.close_idle()

    def _leave(self) -> None:
        """Leave a demoted server with every connection: to those that only read it gave old answers for ever."""
        self.demotions += 1
        for pool in (self._own, self._free):
            pool.give_up()

    def _check_open(self) -> None:
        if self._closed:
            raise DatabaseUnavailable("this process has closed its database")

    def _raise(self, error: BaseException) -> NoReturn:
        """The error as those who use a database know it."""
        if is_demoted(error):
            self._leave()
        if refuses_all(error):
            self.saw_outage()
            self.refusing = True
        if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
            if is_mistake(error):
                raise error
            if is_busy(error):
                raise DatabaseBusy(reason(error)) from error
            raise DatabaseUnavailable(reason(error)) from error
        if is_no_database(error):
            raise SchemaMismatch(f"{self.url.database} is no SQLite database: name another file, or move it") from error
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise DatabaseUnavailable(reason(error)) from error
        raise error


class _Use:
    """One use of a connection under a deadline. Written out, since a generator in its place costs 10 us."""

    __slots__ = ("_conn", "_counts", "_database", "_deadline", "_pool", "_watch")

    def __init__(self, database: Database, pool: Pool, deadline: float, counts: bool = True) -> None:
        self._database = database
        self._pool = pool
        self._deadline = deadline
        self._counts = counts

    def __enter__(self) -> Connection:
        try:
            conn = self._conn = self._pool.take(DEADLINE)
        except (DBAPIError, PoolTimeout) as error:
            self._database._raise(error)
        try:
            self._database._check_open()  # with the connection in hand: see Database.close
            self._watch = WATCHDOG.arm(conn.connection.dbapi_connection, self._deadline)
        except BaseException:
            self._pool.give_back(conn)
            raise
        if self._database.is_sqlite:
            self._begin(conn)
        return conn

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            error = self._end(error) or error
        finally:
            in_time = WATCHDOG.disarm(self._watch)
            if not in_time and self._counts and self._pool is self._database._own:
                # Our own are short: whoever kept this one waiting, as by a lock, keeps others from renewing.
                self._database.saw_outage()
            self._pool.give_back(self._conn)
        if isinstance(error, DBAPIError | PoolTimeout):
            self._database._raise(error)
        if error is None:
            self._database.answered()

    def _begin(self, conn: Connection) -> None:
        """SQLite's transaction; that of PostgreSQL is the statement, or begun by :meth:`Database.begin`."""
        try:
            conn.begin()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def _end(self, error: BaseException | None) -> DBAPIError | None:
        """End the transaction that SQLAlchemy began by itself; returns what went wrong with that."""
        conn = self._conn
        if conn.invalidated or not conn.in_transaction():
            return None
        try:
            if error is None:
                conn.commit()
            else:
                conn.rollback()
        except DBAPIError as found:
            if not conn.invalidated:  # a full disk, say: the transaction still stands, and bars the next from beginning
                conn.invalidate(found)
            return found
        return None


def _commit_by_itself(conn: Connection, driver: Any) -> None:
    """As a connection of a pool is; one that cannot be brought there is given up."""
    if not (conn.invalidated or conn.closed):
        try:
            driver.autocommit = True
        except psycopg.Error as error:
            conn.invalidate(error)


def open_database(url: str, *, pool_size: int = 4, outage: float = OUTAGE) -> Database:
    """Open ``url`` (``sqlite:///file`` or ``postgresql+psycopg://...``) without connecting yet."""
    return Database(url, pool_size=pool_size, outage=outage)


def _clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
