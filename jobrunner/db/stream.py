"""Rows added while they are made: COPY on PostgreSQL, executemany on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import scalar_row
from sqlalchemy import Connection, Table, select

from jobrunner.db.driver import begin, psycopg_of, sqlite_of, told, wrapped
from jobrunner.db.types import db_now, to_micros

AT_ONCE = 50  # rows that are made, then sent: in turn for each row they would fight for the processor's caches
Row = tuple[tuple[str, ...], tuple[Any, ...]]

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_CLOCK = select(db_now())


def can_append(conn: Connection) -> bool:
    """Whether ``append`` works here."""
    return psycopg_of(conn) is not None or sqlite_of(conn) is not None


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
    driver = psycopg_of(conn)
    if driver is not None:
        _copy(conn, driver, f"COPY {into} FROM STDIN", rows)
    else:
        _insert(conn, f"INSERT INTO {into} VALUES ", rows)  # noqa: S608 - names from code


def _copy(
    conn: Connection, driver: psycopg.Connection[Any], text: str, rows: Callable[[datetime], Iterable[Row]]
) -> None:
    begin(conn, driver)
    try:
        with _undoable(driver), driver.cursor(row_factory=scalar_row) as cursor:
            found: Any = cursor.execute("SELECT statement_timestamp()").fetchone()
            moment = datetime.astimezone(found, UTC)  # the caller's zone would add hours of its clock, not of time
            with cursor.copy(text) as stream:
                _stream(stream, rows(moment))
    except psycopg.Error as error:
        raise told(conn, text, error) from error


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


def _insert(conn: Connection, text: str, rows: Callable[[datetime], Iterable[Row]]) -> None:
    driver = sqlite_of(conn)
    assert driver is not None, "can_append was asked"
    moment = conn.execute(_CLOCK).scalar_one()
    with conn.begin_nested():
        try:
            for rest, alike in groupby(rows(moment), itemgetter(1)):
                _insert_alike(driver, text, rest, alike)
        except sqlite3.Error as error:
            raise wrapped(conn, text, error, sqlite3.Error, dead=False) from error


def _insert_alike(driver: sqlite3.Connection, text: str, rest: tuple[Any, ...], rows: Iterator[Row]) -> None:
    """Rows that share ``rest``. NULL stands in the text: to bind one costs the driver as much as four values."""
    first = next(rows)
    marks = ["?"] * len(first[0]) + ["NULL" if value is None else "?" for value in rest]
    given = [value for value in rest if value is not None]
    one = f"{text}({', '.join(marks)})"
    made = ((*own, *given) for own, _ in chain([first], rows))
    while some := list(islice(made, AT_ONCE)):
        driver.executemany(one, some)
