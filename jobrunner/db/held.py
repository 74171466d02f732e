"""A transaction in which somebody else's code writes, and which is not that code's to end."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from jobrunner.errors import HandlerError

_ENDS = re.compile(
    r"(?:\s|/\*.*?\*/|--[^\n]*\n)*+"
    r"(?:begin|start|commit|end|abort|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b",
    re.IGNORECASE | re.DOTALL,
)
_BEGUN = "can't call begin() here"  # of SQLAlchemy's text for it


class _Holder:
    """Who writes, and whether it was kept from ending the transaction."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.refused: HandlerError | None = None
        self.asked = False  # anything: until then a transaction is none to the driver
        self.torn = False  # SQLAlchemy takes for ended what the database has open

    def refuse(self) -> HandlerError:
        self.refused = HandlerError(
            f"{self.who} would have ended jobrunner's transaction; leave commit and rollback to it: nothing was written"
        )
        return self.refused


_holders: dict[int, _Holder] = {}  # by the id of a connection, while it is held
_watched: WeakSet[Connection] = WeakSet()  # to listen and to stop again takes 0.3 ms: it is done once for each


@contextmanager
def held(conn: Connection, who: str) -> Iterator[None]:
    """Keep the block from ending the transaction that ``conn`` is in.

    What would end it by SQLAlchemy, or by a statement of its own, is refused before it is done; what went past that is
    found when the block is over. Both raise HandlerError, which begins with ``who``; the block may not swallow it.
    """
    if conn not in _watched:
        _watch(conn)
    former = _holders.get(id(conn))
    holder = _holders[id(conn)] = _Holder(who)
    root = conn.get_transaction()
    holder.asked = _is_open(conn)
    try:
        yield
    except DBAPIError:  # the database may have ended it itself: of a full disk, of ON CONFLICT ROLLBACK
        if holder.refused is not None:
            raise holder.refused from None
        raise
    except Exception as error:
        if holder.refused is not None:
            raise holder.refused from (None if error is holder.refused else error)
        if _has_ended(conn, root, holder.asked):
            raise _ended(who) from error
        if isinstance(error, InvalidRequestError) and _BEGUN in str(error):  # which advises to commit first
            raise HandlerError(
                f"{who} began a transaction inside jobrunner's: leave that to it, or begin_nested()"
            ) from error
        raise
    else:
        if holder.refused is not None:
            raise holder.refused
        if _has_ended(conn, root, holder.asked):
            raise _ended(who)
    finally:
        del _holders[id(conn)]
        if holder.torn:
            _undo(conn)
        if former is not None:
            _holders[id(conn)] = former


def _ended(who: str) -> HandlerError:
    return HandlerError(
        f"{who} ended jobrunner's transaction; leave commit and rollback to it: what was written before a COMMIT stands"
    )


def _has_ended(conn: Connection, root: Any, asked: bool) -> bool:
    if conn.closed or conn.get_transaction() is not root:
        return True
    if conn.invalidated:  # the link broke, which says so itself
        return False
    return asked and not _is_open(conn)


def _is_open(conn: Connection) -> bool:
    driver = conn.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        return driver.in_transaction
    return not (isinstance(driver, psycopg.Connection) and driver.info.transaction_status == TransactionStatus.IDLE)


def _undo(conn: Connection) -> None:
    """Roll back what the database has open still, and bring SQLAlchemy's own idea of it in order."""
    if conn.closed or conn.invalidated:
        return
    driver: Any = conn.connection.driver_connection
    try:
        driver.rollback()
    except (psycopg.Error, sqlite3.Error) as error:
        conn.invalidate(error)
    conn.rollback()


def _watch(conn: Connection) -> None:
    event.listen(conn, "commit", _on_end)
    event.listen(conn, "rollback", _on_end)
    event.listen(conn, "before_cursor_execute", _on_statement)
    _watched.add(conn)


def _on_end(conn: Connection) -> None:
    holder = _holders.get(id(conn))
    if holder is not None and not conn.invalidated:  # else there is nothing left that could be ended
        holder.torn = True
        raise holder.refuse()


def _on_statement(conn: Connection, _cursor: Any, text: str, *_: Any) -> None:
    holder = _holders.get(id(conn))
    if holder is None:
        return
    if _ENDS.match(text):
        raise holder.refuse()
    if conn.dialect.name == "postgresql":  # whose driver begins with the first statement; a file's has begun before
        holder.asked = True
