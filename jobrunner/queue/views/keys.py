"""Keys as those who manage them see them, and what has been changed by whom."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, exists, or_, select

from jobrunner.db.tables import api_keys, audit
from jobrunner.db.types import db_now
from jobrunner.errors import KeyNotFound
from jobrunner.queue import codec
from jobrunner.queue.key import Kept

_k = api_keys.c
KEYS_MOST = 10_000  # in one answer


@dataclass(frozen=True)
class KeyView:
    """One key, without what it is checked by. ``queues`` None means all, ``rate`` is in requests a second."""

    id: str
    name: str
    scopes: tuple[str, ...]
    queues: tuple[str, ...] | None
    rate: float | None
    replaces: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    usable: bool


USABLE = _k.revoked_at.is_(None) & or_(_k.expires_at.is_(None), _k.expires_at > db_now())
_COLUMNS = [USABLE.label("usable") if name == "usable" else _k[name] for name in KeyView.__dataclass_fields__]


def all_keys(conn: Connection) -> list[KeyView]:
    """Every key that was ever made, the newest first."""
    found = select(*_COLUMNS).order_by(_k.created_at.desc(), _k.id).limit(KEYS_MOST)
    return [_key(row) for row in conn.execute(found)]


def one_key(conn: Connection, key_id: str) -> KeyView:
    """One key; raises KeyNotFound."""
    row = conn.execute(select(*_COLUMNS).where(_k.id == key_id)).one_or_none()
    if row is None:
        raise KeyNotFound(key_id)
    return _key(row)


def usable_keys(conn: Connection) -> dict[str, tuple[Kept, KeyView]]:
    """By id, what each key that opens a door now is checked by, and the key: all of them, so that none is missed."""
    rows = conn.execute(select(_k.digest, *_COLUMNS).where(USABLE))
    return {row.id: (Kept.of(row.digest), _key(row)) for row in rows}


def is_any_key(conn: Connection) -> bool:
    """Whether a key was ever made: one that has ended counts too, for rows of keys are never deleted."""
    return bool(conn.execute(select(exists(select(_k.id)))).scalar_one())


def _key(row: Row[Any]) -> KeyView:
    told = {name: row._mapping[name] for name in KeyView.__dataclass_fields__}
    queues = None if row.queues is None else tuple(json.loads(row.queues))
    return KeyView(**{**told, "scopes": tuple(json.loads(row.scopes)), "queues": queues, "usable": bool(row.usable)})


@dataclass(frozen=True)
class AuditView:
    """One change: who did what to what; ``details`` holds JSON values."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str | None
    details: Any


def audit_page(conn: Connection, *, before: int | None = None, limit: int = 50) -> list[AuditView]:
    """Changes, the newest first; ``before`` is the id that the last page ended with."""
    columns = [audit.c[name] for name in AuditView.__dataclass_fields__]
    found = select(*columns).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(audit.c.id < before)
    rows = conn.execute(found)
    return [_change(row) for row in rows]


def _change(row: Row[Any]) -> AuditView:
    details = None if row.details is None else codec.load(row.details)
    return AuditView(**{**row._mapping, "details": details})
