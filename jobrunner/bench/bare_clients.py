"""As many connections as the API has clients, each inserting the same row with a commit, over and over.

``python -m jobrunner.bench.bare_clients``; for each count that it is told it answers with what it saw.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from jobrunner.bench import bare_file, helper, tasks
from jobrunner.bench.bare_insert import INSERT, row
from jobrunner.bench.figure import percentile

Insert = Callable[[], Awaitable[object]]


async def _timed(insert: Insert, count: int) -> list[float]:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await insert()
        took.append((time.perf_counter() - began) * 1e3)
    return took


async def _connect(given: Any) -> Insert:
    if given["file"]:
        opened = bare_file.connect(given["file"])

        async def into_file() -> None:
            bare_file.insert(opened, tasks.BARE, tasks.PAYLOAD, 1)

        return into_file
    conn = await psycopg.AsyncConnection.connect(given["database"], autocommit=True)

    async def into_server() -> None:
        await conn.execute(INSERT, row(tasks.BARE, tasks.PAYLOAD))

    return into_server


async def main() -> None:
    """Answer until the bench is gone. A file has one writer."""
    given = helper.told()
    inserts = [await _connect(given) for _ in range(1 if given["file"] else given["concurrency"])]
    helper.answer("ready")
    while True:
        count = await asyncio.to_thread(lambda: helper.told()["count"])
        began = time.perf_counter()
        found = await asyncio.gather(*[_timed(insert, count // len(inserts)) for insert in inserts])
        seconds = time.perf_counter() - began
        took = [each for one in found for each in one]
        helper.answer({"seconds": seconds, "p50": percentile(took, 50), "p99": percentile(took, 99)})


if __name__ == "__main__":
    asyncio.run(main())
