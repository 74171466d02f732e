"""What people and programs changed: rows that are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert

from jobrunner.db.tables import audit
from jobrunner.db.types import db_now
from jobrunner.queue import codec


@dataclass
class Change:
    """A change that people asked for, while its transaction ``conn`` is open: what the audit will tell of it."""

    conn: Connection
    target: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def tell(self, **details: Any) -> None:
        """Add what is known only by now, such as the id of what was made; never a secret."""
        self.details.update(details)


def record(
    conn: Connection, actor: str, action: str, target: str | None, details: Mapping[str, Any] | None = None
) -> None:
    """Say who did what to what, in the transaction that does it: neither is there without the other."""
    told = None if not details else codec.dump(dict(details))
    conn.execute(insert(audit).values(at=db_now(), actor=actor, action=action, target=target, details=told))
