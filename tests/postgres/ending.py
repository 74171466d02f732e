"""Ends the connections of a server's clients, as an administrator does."""

from __future__ import annotations

import psycopg

_END = """
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'jobrunner' AND datname = current_database() AND pid <> pg_backend_pid()
    ORDER BY random() LIMIT %s
) AS picked"""


def end_connections(url: str, most: int | None = None) -> int:
    """Those of jobrunner to this database, or ``most`` of them, picked at random; returns how many."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as conn:
        [(ended,)] = conn.execute(_END, [most]).fetchall()
        return int(ended)
