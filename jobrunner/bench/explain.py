"""What a claim touches: the statement as jobrunner really sends it, explained by the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Connection

from jobrunner.bench.errors import BenchFailed
from jobrunner.db.engine import Database


def buffers(database: Database, claim: Callable[[Connection], object]) -> int:
    """Shared buffers that the last statement of ``claim`` touches; what it changes is rolled back."""
    with database.begin() as conn:
        driver: Any = conn.connection.driver_connection
        sent: list[tuple[Any, Any]] = []
        usual = driver.cursor_factory
        driver.cursor_factory = _recording(usual, sent)
        try:
            claim(conn)
        finally:
            driver.cursor_factory = usual
        conn.rollback()
    if not sent:
        raise BenchFailed("the claim's statement was not seen")
    statement, given = sent[-1]
    with database.begin() as conn:
        driver = conn.connection.driver_connection
        text = statement if isinstance(statement, str) else bytes(statement).decode()
        told = driver.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", given).fetchone()[0]
        conn.rollback()
    plan = told[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _recording(base: type[psycopg.Cursor[Any]], sent: list[tuple[Any, Any]]) -> type[psycopg.Cursor[Any]]:
    class Recording(base):  # type: ignore[valid-type,misc]  # mypy takes no base that is a value
        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            sent.append((query, params))
            return super().execute(query, params, **kwargs)

    return Recording
