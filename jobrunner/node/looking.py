"""Looking for work: short looks where tasks came from lately, and full ones often enough."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue import store
from jobrunner.queue.store import LATE, Claimed, Place, Room
from jobrunner.queue.task import Task
from jobrunner.settings.failpoints import hit

FULL_SHARE = 10  # a full look may take at most one part in so many of the time
AFTER_FOUND = 0.01  # seconds that what was found has for itself: a full look beside its end took 0.4 ms from it
FULL_LATEST = 10.0  # seconds after which one may follow even where it takes more than that share
DEAR = 0.3  # seconds from which a full look is dear, and for each task that it found:
DEAR_TASK = 0.001
REACH = 10.0  # seconds that most of them go back from then on,
DEAR_SHARE = 20  # ... and the others may take at most one part in so many of the time
DEAR_LATEST = 30.0  # seconds after which one may follow even where it takes more than that share
FULL_EVERY = 0.1  # seconds between two full looks while short ones find enough: a more urgent lane may be new
LIMITS_EVERY = 1.0  # seconds after which it is asked again which queues limit what runs
LANES_MOST = 64  # lanes that a short look asks about: each is one probe of the index


@dataclass(frozen=True)
class Source:
    """Where a node takes its tasks from: ``queues`` None means every queue; the lease in seconds."""

    node_id: str
    queues: tuple[str, ...] | None
    lease_seconds: float


@dataclass(frozen=True)
class Look:
    """What one look found, and the kinds of which there is no more for now."""

    tasks: list[Task]
    dry: frozenset[str]


class Lookout:
    """Claims, one look at a time, in whatever thread: :class:`jobrunner.node.claims.Claims` sees to that. Blocks.

    A full look walks over what was taken since the oldest open transaction of anybody: with one held open for a minute
    at 2,000 tasks/s it took 19 ms instead of 4. A short look begins where the last task was taken, and stays at 3 ms.
    It does not see a lane that is new, a task that was put back, or one that was committed late: full looks follow ten
    times a second, at once where too little was found, but never so that they take more than their share of the time.
    After ten minutes at 1,000 tasks/s a full look took 1.6 s. Then it gives way to a longer look, 10 s back instead of
    0.25, and follows seldom.

    Where a queue limits what runs, full looks become transactions that count it; short ones pass such queues over, and
    longer ones come with a full look into these alone.
    """

    def __init__(self, database: Database, source: Source) -> None:
        self._database = database
        self._source = source
        self._places: dict[tuple[str, str, int], Place] = {}
        self._full_at = 0.0
        self._dear = False
        self._dear_until = 0.0
        self._full_ended: dict[str, float] = {}  # by kind: one that is looked for often shall not put off the others
        self._short_was_dry = False
        self._limits_at = 0.0
        self.limited: frozenset[str] = frozenset()  # queues that limit what runs

    def look(self, rooms: Sequence[Room], everywhere: bool) -> Look:
        """Take up to what there is room for; ``everywhere`` skips the short look. Raises DatabaseUnavailable."""
        kinds = {room.kind for room in rooms}
        places = [place for place in self._places.values() if place.kind in kinds]
        moment = time.monotonic()
        overdue = any(moment >= self._full_ended.get(kind, 0.0) + FULL_EVERY for kind in kinds)
        wanted = everywhere or self._short_was_dry or overdue
        if not places or (wanted and moment >= self._full_at):
            return self._full(rooms, places)
        found = self._claim(rooms, places)
        dry = _dry(rooms, found)
        self._short_was_dry = bool(dry)
        if dry and found.tasks:
            self._full_at = max(self._full_at, time.monotonic() + AFTER_FOUND)
        # A full look comes next for them, at once or when it may.
        return Look(found.tasks, frozenset() if time.monotonic() >= self._full_at else dry)

    def until_full(self) -> float:
        """Seconds until a full look may follow the short one that found less than there was room for."""
        return max(0.0, self._full_at - time.monotonic()) if self._short_was_dry else float("inf")

    def _full(self, rooms: Sequence[Room], places: Sequence[Place]) -> Look:
        self._ask_for_limits()  # first: what is claimed shall wait for no other answer
        begun = time.monotonic()
        longer = bool(places) and begun < self._dear_until
        if longer:
            found = self._longer(rooms, places)
        else:
            found = self._within(rooms, self._source.queues) if self.limited else self._claim(rooms, None)
        ended = time.monotonic()
        took = ended - begun
        self._full_ended.update((room.kind, ended) for room in rooms)
        self._full_at = ended + min(took * FULL_SHARE, FULL_LATEST)
        if not longer:
            was_dear, self._dear = self._dear, took > DEAR + DEAR_TASK * len(found.tasks)
            if was_dear and self._dear:  # one alone may have been a moment's
                self._full_at, self._dear_until = ended, ended + min(took * DEAR_SHARE, DEAR_LATEST)
        self._short_was_dry = False
        # Of what a limit left out the next look finds the rest.
        again = any(task.queue in self.limited for task in found.tasks)
        return Look(found.tasks, frozenset() if again else _dry(rooms, found))

    def _ask_for_limits(self) -> None:
        if time.monotonic() < self._limits_at:
            return
        with self._database.single() as conn:
            self.limited = store.limited_queues(conn, self._source.queues)
        self._limits_at = time.monotonic() + LIMITS_EVERY

    def _longer(self, rooms: Sequence[Room], places: Sequence[Place]) -> Claimed:
        """What limited queues have first, whatever its urgency: they would wait for as long as others fill the room."""
        if not self.limited:
            return self._claim(rooms, places, REACH)
        first = self._within(rooms, sorted(self.limited))
        left = [replace(room, wanted=room.wanted - first.taken.get(room.kind, 0)) for room in rooms]
        try:
            then = self._claim(left, places, REACH)
        except DatabaseUnavailable:
            if not first.tasks:
                raise
            then = Claimed([], [], {})  # what was claimed is ours, and nobody else would hear of it
        taken = Counter(first.taken) + Counter(then.taken)
        made = sorted([*first.tasks, *then.tasks], key=attrgetter("priority"))
        return Claimed(made, [*first.places, *then.places], taken)

    def _within(self, rooms: Sequence[Room], queues: Sequence[str] | None) -> Claimed:
        source = self._source
        hit("claim-before")
        with self._database.begin() as conn:
            claimed = store.claim_within(conn, source.node_id, rooms, queues=queues, lease_seconds=source.lease_seconds)
        return self._remember(claimed)

    def _claim(self, rooms: Sequence[Room], after: Sequence[Place] | None, late: float = LATE) -> Claimed:
        source = self._source
        hit("claim-before")
        with self._database.single() as conn:
            claimed = store.claim_into(
                conn,
                source.node_id,
                rooms,
                queues=source.queues,
                lease_seconds=source.lease_seconds,
                after=after,
                late=late,
            )
        return self._remember(claimed)

    def _remember(self, claimed: Claimed) -> Claimed:
        if claimed.tasks:
            hit("claim-after-commit")
        for place in claimed.places:
            if place.queue in self.limited:
                continue
            self._places.pop(place.lane, None)  # the latest last
            self._places[place.lane] = place
        for lane in list(self._places)[:-LANES_MOST]:
            del self._places[lane]
        return claimed


def _dry(rooms: Sequence[Room], found: Claimed) -> frozenset[str]:
    """The kinds of which less was found than there was room for."""
    return frozenset(room.kind for room in rooms if found.taken[room.kind] < room.wanted)
