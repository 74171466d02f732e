"""Waiting for tasks: told as they end, with looks that grow rarer behind it, and never a SQLite file kept from work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

from jobrunner.client.desk import Answer, Desk
from jobrunner.queue.task import ENDED

SOONEST, LATEST = 0.05, 1.0  # seconds between two looks
PER_LOOK = 0.02  # seconds for each task that a look asks after: a thousand are looked at every 20 s


def watch(open_desk: Callable[[], Desk], task_ids: Sequence[str], timeout: float | None = None) -> Iterator[Answer]:
    """Yield the tasks in turn, again and again, until all ended; each ended one is yielded once more, the last time.

    Raises TimeoutError after ``timeout`` seconds. ``open_desk`` is called anew for each look where an open desk
    would keep others out.
    """
    until = math.inf if timeout is None else time.monotonic() + timeout
    left = dict.fromkeys(task_ids)
    pause, looked_at = SOONEST, time.monotonic()
    desk: Desk | None = None
    try:
        while left:
            desk = desk or open_desk()
            asked_at = time.monotonic()
            told = desk.wait([*left], max(0.0, min(pause, until - asked_at)))
            if not told or time.monotonic() - looked_at > max(pause, PER_LOOK * len(left)):
                told = [desk.task(task_id) for task_id in left]
                looked_at = time.monotonic()
            if desk.exclusive:
                desk.__exit__()
                desk = None
            yield from told
            ended = [task["task_id"] for task in told if task["status"] in ENDED]
            for task_id in ended:
                left.pop(task_id, None)
            if left and time.monotonic() >= until:
                raise TimeoutError
            if not ended:  # where the desk could not wait, wait here
                time.sleep(max(0.0, min(asked_at + pause, until) - time.monotonic()))
                pause = min(LATEST, pause * 1.4)
    finally:
        if desk is not None:
            desk.__exit__()
