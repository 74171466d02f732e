"""Undoing what failed in the middle of a transaction that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextmanager
def undone_where_it_fails(conn: Connection) -> Iterator[None]:
    """All that the block writes, or nothing; the transaction around it stays open, and its caller's to end."""
    driver = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite" and driver is not None and not driver.in_transaction:
        conn.exec_driver_sql("BEGIN")  # sqlite3 opens none for a savepoint, whose release would then commit
    with conn.begin_nested():
        yield
