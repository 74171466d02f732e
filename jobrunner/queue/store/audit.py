"""What people and programs changed: rows that are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert

from jobrunner.db.tables import audit
from jobrunner.db.types import db_now
from jobrunner.queue import codec


def record(
    conn: Connection, actor: str, action: str, target: str | None, details: Mapping[str, Any] | None = None
) -> None:
    """Say who did what to what, in the transaction that does it: neither is there without the other."""
    told = None if not details else codec.dump(dict(details))
    conn.execute(insert(audit).values(at=db_now(), actor=actor, action=action, target=target, details=told))
