"""Operations as those who began them see them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from jobrunner.db.tables import operations
from jobrunner.db.types import within
from jobrunner.errors import OperationNotFound
from jobrunner.queue.operation import COUNT_MOST, Action

_o = operations.c
OPERATIONS_MOST = 200  # in one answer


@dataclass(frozen=True)
class OperationView:
    """One operation. ``matched`` are the tasks met so far that it could change, which is ``changed`` and ``unchanged``.

    ``ids`` or ``filter`` says which tasks. ``progress`` is the share of its way that lies behind it; ``capped`` tells
    that a dry run stopped counting, so that there are more than it says. ``error`` is what its last step failed with,
    where it did: the operation is tried again, behind the others.
    """

    id: str
    action: Action
    state: str
    dry_run: bool
    ids: list[str] | None
    filter: dict[str, Any] | None
    matched: int
    changed: int
    unchanged: int
    capped: bool
    progress: float
    error: str | None
    created_by: str
    created_at: datetime
    ended_at: datetime | None


def all_operations(conn: Connection, queues: Collection[str] | None = None) -> list[OperationView]:
    """The latest operations, newest first; where ``queues`` are given, those that touch no other queue."""
    found = select(operations).order_by(_o.id.desc()).limit(OPERATIONS_MOST)
    if queues is not None:
        found = found.where(within(_o.queues, queues))
    return [_view(row) for row in conn.execute(found)]


def one_operation(conn: Connection, operation_id: str, queues: Collection[str] | None = None) -> OperationView:
    """One of these; raises OperationNotFound."""
    found = select(operations).where(_o.id == operation_id)
    if queues is not None:
        found = found.where(within(_o.queues, queues))
    row = conn.execute(found).one_or_none()
    if row is None:
        raise OperationNotFound(operation_id)
    return _view(row)


def _view(row: Row[Any]) -> OperationView:
    chosen = json.loads(row.chosen)
    wish = chosen.get("filter")
    if wish is not None:
        wish = {_SPELLED.get(name, name): value for name, value in wish.items()}
    share = row.after / row.upto if row.upto else 0.0
    told = {name: row._mapping[name] for name in OperationView.__dataclass_fields__ if name in row._mapping}
    return OperationView(
        **{
            **told,
            "action": Action(row.action),
            "dry_run": bool(row.dry_run),
            "ids": chosen.get("ids"),
            "filter": wish,
            "capped": bool(row.dry_run) and row.matched >= COUNT_MOST,
            "error": chosen.get("error"),
            "progress": 1.0 if row.state == "done" else min(1.0, share),
        }
    )


_SPELLED = {"statuses": "status", "task_type": "type", "prefix": "q"}  # as the calls that list tasks name them
