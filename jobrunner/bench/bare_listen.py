"""The shortest way from a row to its handler on PostgreSQL: LISTEN, claim up to 10, a coroutine each, complete.

``python -m jobrunner.bench.bare_listen``; serves until it is stopped. The result says when the handler began.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any

import psycopg
from psycopg import sql

from jobrunner.bench import helper
from jobrunner.bench.bare_drain import CLAIM, COMPLETE

BATCH = 10


async def stamp(_payload: Any) -> dict[str, int]:
    """What the tasks do: say when they began, in nanoseconds."""
    return {"at": time.time_ns()}


async def serve(database: str, channel: str, task_type: str) -> None:
    """Two connections, since a note may come while the other is at work."""
    hearing = await psycopg.AsyncConnection.connect(database, autocommit=True)
    working = await psycopg.AsyncConnection.connect(database, autocommit=True)
    await hearing.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    helper.answer("ready")
    async for _note in hearing.notifies():
        token = secrets.token_hex(16)
        rows = await (await working.execute(CLAIM, (task_type, BATCH, token))).fetchall()
        if rows:
            results = await asyncio.gather(*[asyncio.create_task(stamp(row[3])) for row in rows])
            await working.execute(COMPLETE, ([row[0] for row in rows], [json.dumps(one) for one in results], token))


if __name__ == "__main__":
    given = helper.told()
    helper.end_with_the_bench()
    asyncio.run(serve(given["database"], given["channel"], given["task_type"]))
