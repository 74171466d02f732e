"""How a SQLite file is opened: one writing connection, and read-only ones beside it."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from jobrunner.errors import SettingsError

OURS = "jobrunner_file"  # the key in ``Connection.info`` of those that were opened here
LOCK_WAIT = 10.0  # seconds for a lock of the file


def open_file(url: URL, *, read_only: bool) -> Engine:
    """An engine for the file; whoever writes makes its folder. Raises SettingsError where that cannot be.

    There may be one writing connection: SQLite before 3.51.3 can corrupt its log when two write and checkpoint at
    once, and Debian 12 ships 3.40. Read-only ones never checkpoint.
    """
    path = Path(url.database or "").absolute()
    if not read_only:
        _make_folder(path.parent)
        _check_writable(path)
    target = f"{path.as_uri()}?mode={'ro' if read_only else 'rwc'}"  # as a URI: a path may hold # and ?
    engine = create_engine(
        url,
        creator=lambda: sqlite3.connect(target, uri=True, check_same_thread=False, timeout=LOCK_WAIT),
        poolclass=NullPool,  # jobrunner.db.pool keeps them, as they were left
        pool_reset_on_return=None,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        record.info[OURS] = True
        connection.isolation_level = None
        # Called deterministic, it is asked once a statement: that is how PostgreSQL's clock reads, and for each of 500
        # rows it would have to wait for the interpreter. It is no function of Python's: a Ctrl-C would be raised in it,
        # and SQLite make an error of its own of that.
        connection.create_function("jobrunner_now_ns", 0, time.time_ns, deterministic=True)
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "invalidate")
    def _let_go(connection: sqlite3.Connection, record: ConnectionPoolEntry, error: BaseException | None) -> None:
        # After a Ctrl-C in the middle of a statement: what is closed then keeps the file until its cursors are gone.
        with suppress(sqlite3.Error):
            connection.rollback()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # payloads and results are its owner's
    except OSError as error:
        raise SettingsError(f"data_dir: {folder} cannot be made: {error.strerror}; set JOBRUNNER_DATA_DIR") from error


def _check_writable(path: Path) -> None:
    """SQLite itself says so with the first write, as it does of a full disk: that would be waited out."""
    for place in (path.parent, path):  # the folder as well: the log and the lock stand beside the file
        if place.exists() and not os.access(place, os.W_OK):
            raise SettingsError(
                f"{place} cannot be written, and the database file must be; its owner may change that, or "
                "JOBRUNNER_DATA_DIR and JOBRUNNER_DATABASE_URL name another place"
            )
