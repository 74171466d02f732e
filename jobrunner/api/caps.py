"""Queues that are full take no more tasks over REST."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    """``doubtful`` where it may have what was stored twice: it was taken while a transaction went on that stored.

    Then it may be taken again ``after`` so long that this takes at most its share of the time.
    """

    pending: int
    at: float
    after: float
    doubtful: bool = False

    @property
    def until(self) -> float:
        """Until when it is believed."""
        return max(self.at + COUNT_FOR, self.after)


class Caps:
    """The limits of queues, and how many tasks wait in those that have one. Safe in threads.

    A queue without a limit costs a look into a dictionary. Of one with a limit the waiting tasks are counted twice a
    second, and before it is called full by a count that may be too high, so that counting takes a twentieth of the time
    at most; to that are added those that this process has stored since and those that it is about to store. So at most
    those are too many that other processes take within that time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._caps: dict[str, int] = {}
        self._caps_until = -math.inf
        self._counts: dict[str, _Count] = {}
        self._storing: Counter[str] = Counter()

    @contextmanager
    def room(self) -> Iterator[Room]:
        """For one transaction: what it takes is given back at its end, but for what it did store."""
        room = Room(self)
        try:
            yield room
        except BaseException:
            room.stored.clear()
            raise
        finally:
            self._settle(room)

    def _settle(self, room: Room) -> None:
        with self._lock:
            self._storing.subtract(room.taken)
            for queue in room.taken:
                count = self._counts.get(queue)
                if count is not None and room.stored[queue]:
                    count.pending += room.stored[queue]
                    count.doubtful |= room.began < count.at
                if not self._storing[queue]:
                    del self._storing[queue]

    def limits(self, conn: Connection) -> Mapping[str, int]:
        """How many tasks may wait in each queue that has a limit, as it was a second ago or later."""
        if time.monotonic() > self._caps_until:
            self._look(conn)
        return self._caps

    def _look(self, conn: Connection) -> None:
        with self._lock:
            if time.monotonic() > self._caps_until:
                self._caps = views.max_pending(conn)
                self._counts = {name: count for name, count in self._counts.items() if name in self._caps}
                self._caps_until = time.monotonic() + CAPS_FOR

    def takes(self, conn: Connection, queue: str, most: int) -> bool:
        """Take a place in a queue that takes so many, if there is one."""
        with self._lock:
            count = self._counts.get(queue)
            if count is None or time.monotonic() > count.until:
                count = self._counted(conn, queue, most)
            full = count.pending + self._storing[queue] >= most
            if full and count.doubtful and time.monotonic() > count.after:
                count = self._counted(conn, queue, most)
            if count.pending + self._storing[queue] >= most:
                return False
            self._storing[queue] += 1
            return True

    def _counted(self, conn: Connection, queue: str, most: int) -> _Count:
        began = time.monotonic()
        pending = views.pending_in(conn, queue, most)
        ended = time.monotonic()
        count = self._counts[queue] = _Count(pending, ended, ended + SHARE * (ended - began))
        return count


class Room:
    """What one transaction takes: ``stored`` is to count, by queue, the tasks that it made."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self.began = time.monotonic()
        self.taken: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()

    def admitted(self, conn: Connection, asked: Sequence[NewTask | Exception]) -> list[NewTask | Exception]:
        """The same, but Refused (429) for each that would be one more task in a full queue."""
        limits = self._caps.limits(conn)
        return [self._admitted(conn, new, limits) if isinstance(new, NewTask) and limits else new for new in asked]

    def _admitted(self, conn: Connection, new: NewTask, limits: Mapping[str, int]) -> NewTask | Exception:
        most = limits.get(new.queue)
        if most is None:
            return new
        if self._caps.takes(conn, new.queue, most):
            self.taken[new.queue] += 1
            return new
        if views.meets(conn, new):
            return new
        told = f"the queue {new.queue!r} takes {most} waiting tasks, and has them"
        return Refused(429, "queue_full", told, {"Retry-After": RETRY_AFTER})
