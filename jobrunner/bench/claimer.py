"""A worker's own way of looking for work, with a clock on each look.

``python -m jobrunner.bench.claimer``; takes part in working off a queue beside real workers until it is told to end.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from jobrunner.bench import helper
from jobrunner.db.engine import Database, open_database
from jobrunner.node.looking import Lookout, Source
from jobrunner.queue import store
from jobrunner.queue.store import Room
from jobrunner.queue.task import Ending, Outcome

PAUSE = 0.010  # seconds between two looks
BATCH = 100
LEASE = 30.0  # seconds

Look = tuple[float, float, int]
"""When it began (epoch), its milliseconds, and how many tasks it found."""


def looks(database: Database, task_type: str, ended: threading.Event) -> list[Look]:
    """Look, complete what was found, rest; until told to end."""
    lookout = Lookout(database, Source("bench-claimer", None, LEASE))
    made: list[Look] = []
    while not ended.wait(PAUSE):
        at, began = time.time(), time.perf_counter()
        found = lookout.look([Room("async", (task_type,), BATCH)], everywhere=False).tasks
        made.append((at, (time.perf_counter() - began) * 1e3, len(found)))
        if found:
            with database.begin() as conn:
                store.settle(conn, [(task, Outcome(Ending.COMPLETED, result="{}")) for task in found])
    return made


def main() -> None:
    """Begin at once; answer with all looks when told to end."""
    given: Any = helper.told()
    database = open_database(given["url"])
    ended = threading.Event()
    made: list[Look] = []
    working = threading.Thread(target=lambda: made.extend(looks(database, given["task_type"], ended)), daemon=True)
    working.start()
    helper.answer("ready")
    helper.told()
    ended.set()
    working.join()
    helper.answer(made)
    database.dispose()


if __name__ == "__main__":
    main()
