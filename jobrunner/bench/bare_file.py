"""The bare loop over a SQLite file with the stdlib's module: the statements of :mod:`jobrunner.bench.bare_drain`.

The same durability (WAL, synchronous=FULL) and the same commits: one for a claim of 100, one for its completion.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jobrunner.bench import helper
from jobrunner.bench.bare_drain import noop
from jobrunner.bench.bare_insert import row

CLAIM = """
UPDATE tasks
SET status = 'running', attempt = attempt + 1, token = ?, node_id = 'bare', started_at = ?, lease_until = ?
WHERE id IN (
  SELECT id FROM tasks
  WHERE status = 'pending' AND queue = 'default' AND task_type = ? AND priority = 5 AND run_at <= ?
  ORDER BY run_at, id LIMIT ?
)
RETURNING id, task_id, task_type, payload, attempt
"""

COMPLETE = """
UPDATE tasks SET status = 'completed', token = NULL, lease_until = NULL, finished_at = ?, result = ?
WHERE id = ? AND token = ? AND status = 'running'
"""

INSERT = """
INSERT INTO tasks (task_id, task_type, payload, request_hash, queue, priority, run_at, max_attempts, created_at)
VALUES (?, ?, ?, ?, 'default', 5, ?, 3, ?)
"""


def connect(path: str) -> sqlite3.Connection:
    """As jobrunner opens it; threads may take turns."""
    conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("PRAGMA foreign_keys = ON")
    return conn


def micros() -> int:
    """Now, as the file has it."""
    return time.time_ns() // 1_000


def insert(conn: sqlite3.Connection, task_type: str, payload: Mapping[str, Any], count: int) -> None:
    """``count`` tasks by ``executemany`` and one commit; one task by itself."""
    now = micros()
    if count == 1:
        conn.execute(INSERT, (*row(task_type, payload), now, now))
        return
    conn.execute("BEGIN IMMEDIATE")
    conn.executemany(INSERT, ((*row(task_type, payload), now, now) for _ in range(count)))
    conn.execute("COMMIT")


def claim(conn: sqlite3.Connection, task_type: str, batch: int, token: str) -> list[Any]:
    """One statement, one commit."""
    now = micros()
    return conn.execute(CLAIM, (token, now, now + 30_000_000, task_type, now, batch)).fetchall()


def complete(conn: sqlite3.Connection, rows: list[Any], results: Sequence[Any], token: str) -> None:
    """One transaction, one commit."""
    now = micros()
    conn.execute("BEGIN IMMEDIATE")
    conn.executemany(
        COMPLETE, [(now, json.dumps(one), each[0], token) for each, one in zip(rows, results, strict=True)]
    )
    conn.execute("COMMIT")


async def drain(conn: sqlite3.Connection, task_type: str, batch: int) -> int:
    """Until nothing is due; returns how many were completed."""
    done = 0
    while True:
        token = secrets.token_hex(16)
        rows = claim(conn, task_type, batch, token)
        if not rows:
            return done
        results = await asyncio.gather(*[asyncio.create_task(noop(row[3])) for row in rows])
        complete(conn, rows, results, token)
        done += len(rows)


def main() -> None:
    """Open, wait for the word, drain once the tasks are due, wait for the next."""
    given = helper.told()
    conn = connect(given["database"])
    helper.answer("ready")
    helper.told()
    time.sleep(max(0.0, given["due"] - time.time()))
    helper.answer(asyncio.run(drain(conn, given["task_type"], given["batch"])))
    helper.told()
    conn.close()


if __name__ == "__main__":
    main()
