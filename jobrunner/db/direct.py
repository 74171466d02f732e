"""Straight to the driver, for what is done thousands of times a second; all else goes through SQLAlchemy.

Both calls work on the caller's own connection, inside its transaction, and tell errors as SQLAlchemy does. On one of
our own connections, whose statements commit by themselves, a statement is prepared once and from then on carried out
by libpq: the driver's cursor took 0.14 of the 0.56 ms of an insert, and 0.3 of 1.9 in an idle process. Where the driver
is none that is known here (an asynchronous one, say), they take SQLAlchemy's way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy import Connection, Dialect, Executable, Float

from jobrunner.db.driver import begin, psycopg_of, told
from jobrunner.db.types import Rows

OWN = "jobrunner"  # the key in ``Connection.info`` under which one of our own has its :class:`Own`

_FLOAT8 = 701  # its number among PostgreSQL's types; all others that are bound stand in a CAST
_UNKNOWN_NAME = "26000"  # somebody deallocated what was prepared: psycopg does, after each ROLLBACK
_NAMES = count()
_NAMED = re.compile(r"%\((\w+)\)s|%%")


@dataclass(slots=True)
class Own:
    """How one of our own connections reads values, whether it prepares statements, and which ones it has prepared.

    ``guarded`` is False behind a pooler, where the session has no limit for a transaction that does nothing.
    """

    transformer: Any  # psycopg's Transformer, in the one of its implementations that is installed
    prepares: bool
    guarded: bool
    names: set[bytes] = field(default_factory=set)


def execute(conn: Connection, statement: Executable, values: Mapping[str, Any]) -> int:
    """Run one INSERT, UPDATE or DELETE; returns how many rows it touched. See :func:`fetch`."""
    driver = psycopg_of(conn)
    if driver is None:
        return conn.execute(statement, values).rowcount
    own: Own | None = conn.info.get(OWN) if driver.autocommit else None
    if own is None:
        return _by_cursor(conn, driver, statement, values).rowcount
    return _by_libpq(conn, driver.pgconn, own, statement, values).command_tuples or 0


def fetch(conn: Connection, statement: Executable, values: Mapping[str, Any]) -> Sequence[Any]:
    """Run one statement; returns its rows, on PostgreSQL as the driver spells their values.

    ``statement`` has to be the same object at every call; beside the rows of a ``rowset``, which are given as a list,
    what is bound to it must need no conversion.
    """
    driver = psycopg_of(conn)
    if driver is None:
        return conn.execute(statement, values).all()
    own: Own | None = conn.info.get(OWN) if driver.autocommit else None
    if own is None:
        return _by_cursor(conn, driver, statement, values).fetchall()
    result = _by_libpq(conn, driver.pgconn, own, statement, values)
    own.transformer.set_pgresult(result)
    rows: Sequence[Any] = own.transformer.load_rows(0, result.ntuples, tuple)
    return rows


def _by_cursor(
    conn: Connection, driver: psycopg.Connection[Any], statement: Executable, values: Mapping[str, Any]
) -> psycopg.Cursor[Any]:
    begin(conn, driver)
    asked = _compiled(statement, conn.dialect)
    try:
        return driver.execute(asked.text, asked.bound(values), prepare=True)
    except psycopg.Error as error:
        raise told(conn, asked.text, error) from error


def _by_libpq(conn: Connection, link: PGconn, own: Own, statement: Executable, values: Mapping[str, Any]) -> PGresult:
    asked = _compiled(statement, conn.dialect)
    given = asked.bound(values)
    try:
        result = _carried_out(link, own, asked, [_spelled(given[name]) for name in asked.order])
    except psycopg.Error as error:
        raise told(conn, asked.text, error) from error
    return result


def _carried_out(link: PGconn, own: Own, asked: _Asked, values: Any) -> PGresult:
    if not own.prepares:
        return _checked(link, link.exec_params(asked.numbered, values, asked.types))
    known = asked.name in own.names
    if not known:
        own.names.add(asked.name)  # first: what is not there is found out below, what is there unknown would never be
        _checked(link, link.prepare(asked.name, asked.numbered, asked.types))
    try:
        return _checked(link, link.exec_prepared(asked.name, values))
    except psycopg.Error as error:
        if error.sqlstate != _UNKNOWN_NAME or not known:
            raise
        own.names.remove(asked.name)  # and no other: after psycopg's DEALLOCATE ALL some were prepared again
        return _carried_out(link, own, asked, values)


def _checked(link: PGconn, result: PGresult) -> PGresult:
    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        return result
    if link.status == ConnStatus.BAD:
        raise psycopg.OperationalError(link.get_error_message())
    raise error_from_result(result)


def _spelled(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, list):
        return b"{%b}" % b",".join(b'"%b"' % _spelled_text(part.translate(_QUOTED)) for part in value)
    if isinstance(value, datetime):
        return value.isoformat().encode()
    return _spelled_text(value if isinstance(value, str) else str(value))


def _spelled_text(text: str) -> bytes:
    if "\0" in text:
        raise psycopg.DataError("PostgreSQL text cannot contain NUL characters")  # libpq would end it there
    return text.encode()


_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"'})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A statement as drivers take it, with what is bound to it always, and how the rows that are bound are spelled."""

    text: str
    constants: dict[str, Any]
    rows: list[tuple[str, Any]]
    order: list[str]
    numbered: bytes
    types: list[int]
    name: bytes

    def bound(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All that is bound, by name."""
        given = {**self.constants, **values}
        for name, spelled in self.rows:
            given[name] = spelled(given[name])
        return given


@lru_cache(maxsize=64)
def _compiled(statement: Any, dialect: Dialect) -> _Asked:
    compiled = statement.compile(dialect=dialect)
    binds = {name: bind for bind, name in compiled.bind_names.items()}
    order = list(dict.fromkeys(match[1] for match in _NAMED.finditer(str(compiled)) if match[1]))
    numbered = _NAMED.sub(lambda match: f"${order.index(match[1]) + 1}" if match[1] else "%", str(compiled))
    return _Asked(
        text=str(compiled),
        constants={name: _plain(bind.value) for name, bind in binds.items() if not bind.required},
        rows=[(name, bind.type.bind_processor(dialect)) for name, bind in binds.items() if isinstance(bind.type, Rows)],
        order=order,
        numbered=numbered.encode(),
        types=[_FLOAT8 if isinstance(binds[name].type, Float) else 0 for name in order],
        name=b"jobrunner_%d" % next(_NAMES),
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Enum) else value  # the driver is slow to find out that it is a text
