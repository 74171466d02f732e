"""pending -> running."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, null, select, update

from jobrunner.db.due import PENDING, due_ids
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.queue.task import Lease, Status, Task

_t = tasks.c


def claim(
    conn: Connection,
    node_id: str,
    *,
    types: Sequence[str],
    queues: Sequence[str] | None,
    limit: int,
    lease_seconds: float,
) -> list[Task]:
    """pending -> running: up to ``limit`` due tasks of these types, most urgent first, each with a fresh lease.

    ``queues`` None means every queue. The attempt is counted here, so that a task that kills its worker must end.
    One random token serves all tasks of one call; it proves this claim, and no other claim ever has it.
    """
    if not types or limit < 1:
        return []
    given: dict[str, Any] = {
        "types": [{"name": name} for name in types],
        "wanted": limit,
        "claimed_token": secrets.token_hex(16),
        "claimed_node": node_id,
        "lease_seconds": lease_seconds,
    }
    if queues is not None:
        given["listened"] = [{"name": name} for name in queues]
    rows = conn.execute(_statement(conn.dialect.name, queues is None), given).all()
    return [_task(row) for row in sorted(rows, key=lambda row: (row.priority, row.run_at, row.id))]


@cache
def _statement(dialect: str, every_queue: bool) -> Any:
    # A CTE, not a subquery in IN: a nested loop could run the LIMIT again and claim too many.
    due = due_ids(dialect, every_queue=every_queue)
    return (
        update(tasks)
        .where(_t.id.in_(select(due.c.id)), PENDING)
        .values(
            status=Status.RUNNING,
            attempt=_t.attempt + 1,
            token=bindparam("claimed_token"),
            node_id=bindparam("claimed_node"),
            lease_until=db_now(bindparam("lease_seconds")),
            started_at=db_now(),
            progress=null(),
            message=null(),
        )
        .returning(
            _t.id,
            _t.token,
            _t.attempt,
            _t.task_id,
            _t.task_type,
            _t.payload,
            _t.queue,
            _t.priority,
            _t.run_at,
            _t.generation,
            _t.timeout,
            _t.max_attempts,
            _t.failures,
            _t.crashes,
            _t.snoozes,
            _t.tags,
            _t.traceparent,
        )
    )


def _task(row: Any) -> Task:
    return Task(
        lease=Lease(row.id, row.token, row.attempt),
        task_id=row.task_id,
        task_type=row.task_type,
        payload=row.payload,
        queue=row.queue,
        priority=row.priority,
        generation=row.generation,
        timeout=row.timeout,
        max_attempts=row.max_attempts,
        failures=row.failures,
        crashes=row.crashes,
        snoozes=row.snoozes,
        tags=row.tags,
        traceparent=row.traceparent,
    )
