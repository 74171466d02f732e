"""Straight to the driver, for what is done thousands of times a second; all else goes through SQLAlchemy.

Both calls work on the caller's own connection, inside its transaction, and tell errors as SQLAlchemy does. Where the
driver is none that is known here (an asynchronous one, say), they say so or take SQLAlchemy's way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import scalar_row
from sqlalchemy import Connection, Dialect, Executable, Table, select
from sqlalchemy.exc import DBAPIError

from jobrunner.db.faults import DEAD_STATES
from jobrunner.db.types import Rows, db_now, to_micros

AT_ONCE = 50  # rows that are made, then sent: in turn for each row they would fight for the processor's caches
Row = tuple[tuple[str, ...], tuple[Any, ...]]

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def execute(conn: Connection, statement: Executable, values: Mapping[str, Any]) -> int:
    """Run one INSERT, UPDATE or DELETE; returns how many rows it touched. See :func:`fetch`."""
    driver = _psycopg(conn)
    return (
        conn.execute(statement, values).rowcount if driver is None else _run(conn, driver, statement, values).rowcount
    )


def fetch(conn: Connection, statement: Executable, values: Mapping[str, Any]) -> Sequence[Any]:
    """Run one statement; returns its rows, on PostgreSQL as the driver spells their values.

    Compiled once, it costs a fourth of ``conn.execute``. ``statement`` has to be the same object at every call; beside
    the rows of a ``rowset``, which are given as a list, what is bound to it must need no conversion.
    """
    driver = _psycopg(conn)
    return conn.execute(statement, values).all() if driver is None else _run(conn, driver, statement, values).fetchall()


def _run(
    conn: Connection, driver: psycopg.Connection[Any], statement: Executable, values: Mapping[str, Any]
) -> psycopg.Cursor[Any]:
    _begin(conn, driver)
    text, constants, rows = _compiled(statement, conn.dialect)
    given = {**constants, **values}
    for name, spelled in rows:
        given[name] = spelled(given[name])
    try:
        return driver.execute(text, given, prepare=True)
    except psycopg.Error as error:
        raise _told(conn, text, error) from error


def can_append(conn: Connection) -> bool:
    """Whether ``append`` works here."""
    return _psycopg(conn) is not None or _sqlite(conn) is not None


def instant(conn: Connection, moment: datetime) -> Any:
    """``moment`` as ``append`` takes it."""
    return to_micros(moment) if conn.dialect.name == "sqlite" else moment.isoformat()


def append(conn: Connection, table: Table, columns: Sequence[str], rows: Callable[[datetime], Iterable[Row]]) -> None:
    """Add rows, all or none, while they are made: PostgreSQL stores one while Python makes the next (COPY).

    ``rows`` is called once, with the database's clock. A row is what it has of its own, and what it shares with the
    rows before it as long as that is the same object. Both hold texts, numbers and None, instants as ``instant`` spells
    them. Where making a row raises, or a row is refused (IntegrityError), none is added and the transaction is as it
    was. Nothing else may be asked of ``conn`` while rows are made.
    """
    into = f"{conn.dialect.identifier_preparer.format_table(table)} ({', '.join(columns)})"
    driver = _psycopg(conn)
    if driver is not None:
        _copy(conn, driver, f"COPY {into} FROM STDIN", rows)
    else:
        _insert(conn, f"INSERT INTO {into} VALUES ", rows)  # noqa: S608 - names from code


def _copy(
    conn: Connection, driver: psycopg.Connection[Any], text: str, rows: Callable[[datetime], Iterable[Row]]
) -> None:
    _begin(conn, driver)
    try:
        with _undoable(driver), driver.cursor(row_factory=scalar_row) as cursor:
            found: Any = cursor.execute("SELECT statement_timestamp()").fetchone()
            moment = datetime.astimezone(found, UTC)  # the caller's zone would add hours of its clock, not of time
            with cursor.copy(text) as stream:
                _stream(stream, rows(moment))
    except psycopg.Error as error:
        raise _told(conn, text, error) from error


@contextmanager
def _undoable(driver: psycopg.Connection[Any]) -> Iterator[None]:
    """Undo what is done inside where it raises, and nothing that was done before."""
    if driver.info.transaction_status != TransactionStatus.IDLE or driver.autocommit:
        with driver.transaction():  # a savepoint; in autocommit, where each statement is a transaction, a transaction
            yield
        return
    try:
        yield
    except BaseException:
        if not driver.closed:
            driver.rollback()  # the server knows of no transaction yet: the next statement begins it anew
        raise


def _stream(stream: psycopg.Copy, rows: Iterable[Row]) -> None:
    lines: list[str] = []
    shared: tuple[Any, ...] = ()
    end = ""
    for own, rest in rows:
        if rest is not shared:
            shared, end = rest, "\t".join(["", *map(_spelled, rest)]) + "\n"
        line = "\t".join(own)
        if "\\" in line or "\n" in line or "\r" in line or line.count("\t") >= len(own):
            line = "\t".join(map(_spelled, own))
        lines.append(line + end)
        if len(lines) == AT_ONCE:
            stream.write("".join(lines))
            lines.clear()
    stream.write("".join(lines))


def _spelled(value: object) -> str:
    return "\\N" if value is None else str(value).translate(_ESCAPES)


def _begin(conn: Connection, driver: psycopg.Connection[Any]) -> None:
    """As SQLAlchemy does by itself before a statement: the caller's commit would else do nothing."""
    if not driver.autocommit and not conn.in_transaction():
        conn.begin()


def _insert(conn: Connection, text: str, rows: Callable[[datetime], Iterable[Row]]) -> None:
    driver = _sqlite(conn)
    assert driver is not None, "can_append was asked"
    moment = conn.execute(_CLOCK).scalar_one()
    with conn.begin_nested():
        try:
            for rest, alike in groupby(rows(moment), itemgetter(1)):
                _insert_alike(driver, text, rest, alike)
        except sqlite3.Error as error:
            raise _wrapped(conn, text, error, sqlite3.Error, dead=False) from error


def _insert_alike(driver: sqlite3.Connection, text: str, rest: tuple[Any, ...], rows: Iterator[Row]) -> None:
    """Rows that share ``rest``. NULL stands in the text: to bind one costs the driver as much as four values."""
    first = next(rows)
    marks = ["?"] * len(first[0]) + ["NULL" if value is None else "?" for value in rest]
    given = [value for value in rest if value is not None]
    one = f"{text}({', '.join(marks)})"
    made = ((*own, *given) for own, _ in chain([first], rows))
    while some := list(islice(made, AT_ONCE)):
        driver.executemany(one, some)


_CLOCK = select(db_now())


def _psycopg(conn: Connection) -> psycopg.Connection[Any] | None:
    driver = conn.connection.driver_connection
    if not isinstance(driver, psycopg.Connection) or driver.pgconn.pipeline_status != PipelineStatus.OFF:
        return None
    return None if "schema_translate_map" in conn.get_execution_options() else driver


def _sqlite(conn: Connection) -> sqlite3.Connection | None:
    driver = conn.connection.driver_connection
    # Outside a transaction a savepoint would be one of its own, and its release a commit.
    return driver if isinstance(driver, sqlite3.Connection) and driver.in_transaction else None


@lru_cache(maxsize=64)
def _compiled(statement: Any, dialect: Dialect) -> tuple[str, dict[str, Any], list[tuple[str, Any]]]:
    """Its text, what is bound to it always, and those of the rest that hold rows, with how they are spelled."""
    compiled = statement.compile(dialect=dialect)
    names = compiled.bind_names.items()
    constants = {name: _plain(bind.value) for bind, name in names if not bind.required}
    rows = [(name, bind.type.bind_processor(dialect)) for bind, name in names if isinstance(bind.type, Rows)]
    return str(compiled), constants, rows


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Enum) else value  # the driver is slow to find out that it is a text


def _told(conn: Connection, text: str, error: psycopg.Error) -> BaseException:
    """The error as SQLAlchemy would raise it, and the connection given up where it is dead."""
    dbapi_error: Any = error
    dead = error.sqlstate in DEAD_STATES or conn.dialect.is_disconnect(
        dbapi_error, conn.connection.dbapi_connection, None
    )
    if dead:
        conn.invalidate(error)
    return _wrapped(conn, text, error, psycopg.Error, dead=dead)


def _wrapped(conn: Connection, text: str, error: Exception, base: type[Exception], *, dead: bool) -> BaseException:
    return DBAPIError.instance(text, None, error, base, connection_invalidated=dead, dialect=conn.dialect)
