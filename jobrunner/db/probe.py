"""What can be found out about a database's server from outside: for ``jobrunner doctor``."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection, text

from jobrunner.db.engine import Database

HEARD_WITHIN = 2.0  # seconds
OLDEST = 14  # of PostgreSQL


def version(conn: Connection) -> tuple[str, bool]:
    """Name and version of what answers, and whether it is new enough."""
    if conn.dialect.name == "sqlite":
        return f"SQLite {conn.execute(text('SELECT sqlite_version()')).scalar_one()}", True
    number = int(conn.execute(text("SHOW server_version_num")).scalar_one())
    return f"PostgreSQL {conn.execute(text('SHOW server_version')).scalar_one()}", number >= OLDEST * 10_000


def is_pooled(database: Database) -> bool:
    """Whether a pooler such as PgBouncer stands between: it tells other process numbers than the server."""
    with database.detached() as link:
        found: Any = link.execute("SELECT pg_backend_pid()").fetchone()
        return bool(found[0] != link.info.backend_pid)


def is_heard(database: Database) -> bool:
    """Whether what one connection tells (NOTIFY) is heard by another (LISTEN)."""
    channel = f"jobrunner_probe_{secrets.token_hex(4)}"
    with database.detached() as listener, database.detached() as teller:
        listener.execute(f"LISTEN {channel}")
        teller.execute("SELECT pg_notify(%s, '')", (channel,))
        return any(True for _ in listener.notifies(timeout=HEARD_WITHIN, stop_after=1))
