"""One of several processes that enqueue one task after the other, with and without wake-ups.

``python -m jobrunner.bench.writer``; for each count and mode that it is told it answers when it began and ended.
"""

from __future__ import annotations

import time
from functools import partial

from jobrunner.bench import helper, tasks
from jobrunner.client.local import Local
from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store
from jobrunner.submission import Request, prepare


def silently(database: Database) -> None:
    """What a desk at the database does but for waking anybody: workers find the task by themselves."""
    with database.single() as conn:
        store.enqueue(conn, prepare(conn, Request(tasks.NOOP, tasks.PAYLOAD)))


def main() -> None:
    """Answer until the bench is gone."""
    given = helper.told()
    silent = partial(silently, open_database(given["url"], pool_size=1))
    with Local(given["url"], handlers=(tasks.MODULE,)) as desk:
        loud = partial(desk.submit, tasks.NOOP, tasks.PAYLOAD, {})
        for enqueue in (loud, silent):
            enqueue()
        helper.answer("ready")
        while True:
            wish = helper.told()
            enqueue = loud if wish["wake"] else silent
            began = time.time()
            for _ in range(wish["count"]):
                enqueue()
            helper.answer({"began": began, "ended": time.time()})


if __name__ == "__main__":
    main()
