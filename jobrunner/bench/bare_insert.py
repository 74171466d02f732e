"""One row at a time, or many by COPY, with nothing but the driver: what an enqueue costs PostgreSQL itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg

from jobrunner.queue.request import new_id

HASH = "0" * 64  # as long as the one that jobrunner computes
_COLUMNS = b"task_id, task_type, payload, request_hash, queue, priority, run_at, max_attempts, created_at"

INSERT = b"INSERT INTO tasks (%b) VALUES (%%s, %%s, %%s, %%s, 'default', 5, statement_timestamp(), 3, " % _COLUMNS
INSERT += b"statement_timestamp())"

INSERT_NOTIFY = b"WITH made AS (%b RETURNING id) SELECT pg_notify(%%s, '') FROM made" % INSERT

COPY = b"COPY tasks (%b) FROM STDIN" % _COLUMNS


def row(task_type: str, payload: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What is given for one task; the first is its fresh task_id."""
    return (new_id(), task_type, json.dumps(payload), HASH)


def copy(conn: psycopg.Connection[Any], task_type: str, payload: Mapping[str, Any], count: int) -> None:
    """``count`` tasks in one COPY and one commit."""
    now = datetime.now(UTC)
    with conn.cursor() as cursor, cursor.copy(COPY) as stream:
        for _ in range(count):
            stream.write_row((*row(task_type, payload), "default", 5, now, 3, now))
