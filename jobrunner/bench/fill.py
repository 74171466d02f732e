"""Tasks put into the table at once, the way a long backlog would stand there."""

from __future__ import annotations

import json
import math
import time

from sqlalchemy import delete, insert, text

from jobrunner.bench import tasks as handlers
from jobrunner.bench.scratch import Scratch
from jobrunner.db.engine import Database
from jobrunner.db.tables import queues
from jobrunner.db.types import db_now
from jobrunner.queue.task import DEFAULT_QUEUE

DEADLINE = 3600.0  # seconds
FILL_RATE = 100_000  # rows a second that a SQLite file takes at least

_COLUMNS = "INSERT INTO tasks (task_id, task_type, payload, request_hash, run_at, created_at"

_FILL = f"""{_COLUMNS})
SELECT gen_random_uuid()::text, :task_type, CAST(:payload AS jsonb), md5(n::text) || md5(n::text),
       statement_timestamp(), statement_timestamp()
FROM generate_series(1, :count) AS n
"""  # noqa: S608 - fixed texts

_FILL_ENDED = f"""{_COLUMNS}, status, attempt, node_id, started_at, finished_at, result, progress)
SELECT gen_random_uuid()::text, :task_type, CAST(:payload AS jsonb), md5(n::text) || md5(n::text),
       statement_timestamp(), statement_timestamp(), 'completed', 1, 'fill', statement_timestamp(),
       statement_timestamp(), CAST('{{}}' AS jsonb), 1
FROM generate_series(1, :count) AS n
"""  # noqa: S608 - fixed texts

_SERIES = "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :count) "

_FILL_FILE = f"""{_COLUMNS})
{_SERIES} SELECT lower(hex(randomblob(16))), :task_type, :payload, lower(hex(randomblob(32))), :due, :now FROM series
"""  # noqa: S608 - fixed texts

_FILL_FILE_ENDED = f"""{_COLUMNS}, status, attempt, node_id, started_at, finished_at, result, progress)
{_SERIES} SELECT lower(hex(randomblob(16))), :task_type, :payload, lower(hex(randomblob(32))), :due, :now,
                 'completed', 1, 'fill', :now, :now, '{{}}', 1 FROM series
"""  # noqa: S608 - fixed texts


def fill(database: Database, task_type: str, count: int, *, ended: bool = False, delay: float = 0.0) -> float:
    """Add ``count`` tasks in one statement; with ``ended`` as completed ones. Returns when they are due (epoch).

    ``delay``, on SQLite, is in seconds after the fill: it gives a process time to get ready that must own the file.
    """
    due = time.time() + delay + (count / FILL_RATE if delay else 0.0)
    given = {"task_type": task_type, "payload": json.dumps(handlers.PAYLOAD), "count": count}
    if database.is_sqlite:
        given |= {"due": math.floor(due * 1e6), "now": time.time_ns() // 1_000}
        statement = _FILL_FILE_ENDED if ended else _FILL_FILE
    else:
        statement = _FILL_ENDED if ended else _FILL
    with database.begin(deadline=DEADLINE) as conn:
        conn.execute(text(statement), given)
    return due


def tidy(scratch: Scratch) -> bool:
    """Plan with fresh figures and begin with a checkpoint behind; False where this user may not ask for one."""
    import psycopg

    if scratch.admin is None:
        return True
    scratch.admin.execute("VACUUM (ANALYZE) tasks")
    try:
        scratch.admin.execute("CHECKPOINT")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def pause(database: Database) -> None:
    """No claims from the default queue."""
    with database.begin() as conn:
        conn.execute(insert(queues).values(name=DEFAULT_QUEUE, paused_at=db_now()))


def resume(database: Database) -> None:
    """Claims again, for those who look."""
    with database.begin() as conn:
        conn.execute(delete(queues).where(queues.c.name == DEFAULT_QUEUE))
