"""The bare loop over PostgreSQL: claim 100, a coroutine each, complete 100 in place; two statements, two commits.

``python -m jobrunner.bench.bare_drain``; drains once it is told to, and stays until the bench has looked at it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

import psycopg

from jobrunner.bench import helper

CLAIM = b"""
WITH due AS (
  SELECT id FROM tasks
  WHERE status = 'pending' AND queue = 'default' AND task_type = %s AND priority = 5 AND run_at <= statement_timestamp()
  ORDER BY run_at, id LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE tasks
SET status = 'running', attempt = attempt + 1, token = %s, node_id = 'bare', started_at = statement_timestamp(),
    lease_until = statement_timestamp() + interval '30 seconds'
WHERE id IN (SELECT id FROM due)
RETURNING id, task_id, task_type, payload, attempt
"""

COMPLETE = b"""
UPDATE tasks AS t
SET status = 'completed', token = NULL, lease_until = NULL, finished_at = statement_timestamp(),
    result = d.result::jsonb
FROM unnest(%s::bigint[], %s::text[]) AS d(id, result)
WHERE t.id = d.id AND t.token = %s AND t.status = 'running'
"""


async def noop(_payload: Any) -> dict[str, Any]:
    """What the tasks do."""
    return {}


async def drain(conn: psycopg.AsyncConnection[Any], task_type: str, batch: int) -> int:
    """Until nothing is due; returns how many were completed."""
    done = 0
    while True:
        token = secrets.token_hex(16)
        rows = await (await conn.execute(CLAIM, (task_type, batch, token))).fetchall()
        if not rows:
            return done
        results = await asyncio.gather(*[asyncio.create_task(noop(row[3])) for row in rows])
        await conn.execute(COMPLETE, ([row[0] for row in rows], [json.dumps(one) for one in results], token))
        done += len(rows)


async def main() -> None:
    """Connect, wait for the word, drain, wait for the next."""
    given = helper.told()
    conn = await psycopg.AsyncConnection.connect(given["database"], autocommit=True)
    helper.answer("ready")
    helper.told()
    helper.answer(await drain(conn, given["task_type"], given["batch"]))
    helper.told()


if __name__ == "__main__":
    asyncio.run(main())
