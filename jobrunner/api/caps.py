"""Queues that are full take no more tasks over REST."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from jobrunner.api.problems import Refused
from jobrunner.queue import views
from jobrunner.queue.task import NewTask

CAPS_FOR = 1.0  # seconds that limits are believed
COUNT_FOR = 0.5  # seconds that a count is believed, and longer where counting takes long
SHARE = 20.0  # a count is believed for so many times what it took
RETRY_AFTER = "5"  # seconds


@dataclass
class _Count:
    pending: int
    until: float


class Caps:
    """The limits of queues, and how many tasks wait in those that have one. Safe in threads.

    A queue without a limit costs a look into a dictionary. Of one with a limit the waiting tasks are counted at most
    twice a second, and what is taken here is added to that. So at most those are too many that other processes take
    within that time, and those that two transactions of this one are about to store.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._caps: dict[str, int] = {}
        self._caps_until = -math.inf
        self._counts: dict[str, _Count] = {}

    def admitted(self, conn: Connection, asked: Sequence[NewTask | Exception]) -> list[NewTask | Exception]:
        """The same, but Refused (429) for each that would be one more task in a full queue; for one transaction."""
        if time.monotonic() > self._caps_until:
            self._look(conn)
        if not self._caps:
            return list(asked)
        counted: set[str] = set()  # a second count here would miss what this transaction has yet to store
        return [self._admitted(conn, new, counted) if isinstance(new, NewTask) else new for new in asked]

    def _admitted(self, conn: Connection, new: NewTask, counted: set[str]) -> NewTask | Exception:
        most = self._caps.get(new.queue)
        if most is None or self._takes(conn, new.queue, most, counted) or views.meets(conn, new):
            return new
        told = f"the queue {new.queue!r} takes {most} waiting tasks, and has them"
        return Refused(429, "queue_full", told, {"Retry-After": RETRY_AFTER})

    def _look(self, conn: Connection) -> None:
        with self._lock:
            if time.monotonic() > self._caps_until:
                self._caps = views.max_pending(conn)
                self._counts = {name: count for name, count in self._counts.items() if name in self._caps}
                self._caps_until = time.monotonic() + CAPS_FOR

    def _takes(self, conn: Connection, queue: str, most: int, counted: set[str]) -> bool:
        with self._lock:
            count = self._counts.get(queue)
            began = time.monotonic()
            if count is None or (began > count.until and queue not in counted):
                pending = views.pending_in(conn, queue, most)
                ended = time.monotonic()
                count = self._counts[queue] = _Count(pending, ended + max(COUNT_FOR, SHARE * (ended - began)))
            counted.add(queue)
            if count.pending >= most:
                return False
            count.pending += 1
            return True
