"""Undoing what failed in the middle of a transaction that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from jobrunner.errors import HandlerError

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextmanager
def undone_where_it_fails(conn: Connection) -> Iterator[None]:
    """All that the block writes, or nothing; the transaction around it stays open, and its caller's to end."""
    driver: Any = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite" and not driver.in_transaction:
        conn.exec_driver_sql("BEGIN")  # sqlite3 opens none for a savepoint, whose release would then commit
    with conn.begin_nested():
        yield


def refuse_autocommit(conn: Connection) -> None:
    """Raise HandlerError for a connection that is in no transaction and begins none by itself."""
    driver: Any = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite":
        open_or_opens = driver.in_transaction or driver.isolation_level is not None
    else:
        open_or_opens = not driver.autocommit or driver.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
    if not open_or_opens:
        raise HandlerError("conn commits each statement by itself (AUTOCOMMIT), so that nothing could be undone")
