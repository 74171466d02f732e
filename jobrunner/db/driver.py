"""The driver behind a SQLAlchemy connection, where it is one that is known here; errors as SQLAlchemy tells them."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jobrunner.db.faults import DEAD_STATES
from jobrunner.db.sqlite import OURS

_WANTED = (
    "a SQLAlchemy Connection of psycopg 3 on PostgreSQL, where jobrunner's tables are (of a Session: connection())"
)


def refuse_foreign(conn: object) -> None:
    """Raise TypeError for what takes no task, such as a Session, or a SQLite file that was not opened here."""
    if not isinstance(conn, Connection):
        raise TypeError(f"conn has to be {_WANTED}, not {type(conn).__module__}.{type(conn).__qualname__}")
    driver: Any = conn.connection.driver_connection
    ours = conn.info.get(OURS) if isinstance(driver, sqlite3.Connection) else isinstance(driver, psycopg.BaseConnection)
    if not ours:
        raise TypeError(f"conn has to be {_WANTED}, not one of {conn.dialect.name}+{conn.dialect.driver}")


def psycopg_of(conn: Connection) -> psycopg.Connection[Any] | None:
    """None where it is another driver, an asynchronous one say, or does things its own way."""
    driver = conn.connection.driver_connection
    if not isinstance(driver, psycopg.Connection) or driver.pgconn.pipeline_status != PipelineStatus.OFF:
        return None
    return None if "schema_translate_map" in conn.get_execution_options() else driver


def sqlite_of(conn: Connection) -> sqlite3.Connection | None:
    """None where it is another driver, or in no transaction, where a savepoint would end in a commit."""
    driver = conn.connection.driver_connection
    return driver if isinstance(driver, sqlite3.Connection) and driver.in_transaction else None


def begin(conn: Connection, driver: psycopg.Connection[Any]) -> None:
    """As SQLAlchemy does by itself before a statement: the caller's commit would else do nothing."""
    if not driver.autocommit and not conn.in_transaction():
        conn.begin()


def told(conn: Connection, text: str, error: psycopg.Error) -> BaseException:
    """The error as SQLAlchemy would raise it, and the connection given up where it is dead."""
    dbapi_error: Any = error
    dead = error.sqlstate in DEAD_STATES or conn.dialect.is_disconnect(
        dbapi_error, conn.connection.dbapi_connection, None
    )
    if dead:
        conn.invalidate(error)
    return wrapped(conn, text, error, psycopg.Error, dead=dead)


def wrapped(conn: Connection, text: str, error: Exception, base: type[Exception], *, dead: bool) -> BaseException:
    """The error in SQLAlchemy's class for it."""
    return DBAPIError.instance(text, None, error, base, connection_invalidated=dead, dialect=conn.dialect)
