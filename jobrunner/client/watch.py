"""Waiting for tasks: looks that grow rarer, and never keep a SQLite file from its worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from jobrunner.client.desk import Answer, Desk

SOONEST, LATEST = 0.05, 1.0  # seconds between two looks
ENDED = frozenset({"completed", "failed", "cancelled"})


def watch(open_desk: Callable[[], Desk], task_ids: Sequence[str], timeout: float | None = None) -> Iterator[Answer]:
    """Yield the tasks in turn, again and again, until all ended; each ended one is yielded once more, the last time.

    Raises TimeoutError after ``timeout`` seconds. ``open_desk`` is called anew for each look where an open desk
    would keep others out.
    """
    until = None if timeout is None else time.monotonic() + timeout
    left = list(dict.fromkeys(task_ids))
    pause = SOONEST
    desk: Desk | None = None
    try:
        while True:
            desk = desk or open_desk()
            told = [desk.task(task_id) for task_id in left]
            if desk.exclusive:
                desk.__exit__()
                desk = None
            yield from told
            left = [task["task_id"] for task in told if task["status"] not in ENDED]
            if not left:
                return
            rest = pause if until is None else until - time.monotonic()
            if rest <= 0:
                raise TimeoutError
            time.sleep(min(pause, rest))
            pause = min(LATEST, pause * 1.4)
    finally:
        if desk is not None:
            desk.__exit__()
