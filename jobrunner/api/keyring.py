"""The keys that open doors, as this process knows them: read again every two seconds while somebody asks."""

from __future__ import annotations

import hmac
import math
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType

from jobrunner.api.uses import Uses
from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue import key, views
from jobrunner.queue.key import Kept
from jobrunner.queue.views import KeyView

FRESH = 2.0  # seconds: a key that is revoked opens nothing within five, on every node
WITHIN = 2.0  # seconds for a look: who asks waits for it
BURST = 2.0  # seconds' worth of requests that may come at once
_NOBODY = key.digest("")

Found = Mapping[str, tuple[Kept, KeyView]]


class Keyring:
    """All usable keys. A wrong one costs no look at the database, however many are tried. Safe in threads.

    A process that has lost its database goes by what it knew last: nothing that a key opens can be done without it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._uses = Uses(database)
        self._lock = threading.Lock()
        self._found: Found = MappingProxyType({})
        self._ever = False
        self._state = object()  # another one since each change that this process made
        self._looked: tuple[object | None, float] = (None, -math.inf)  # at which state, and when
        self._buckets: dict[str, _Bucket] = {}
        self.closed = False
        """Whether a key was ever made: then nobody comes in without one, even if all of them have ended."""

    @property
    def fresh(self) -> bool:
        """Whether what is known is of the last two seconds, and of after the last change that was made here."""
        state, moment = self._looked
        return state is self._state and time.monotonic() - moment < FRESH

    def look(self) -> None:
        """Read them again, unless somebody else just did; raises DatabaseUnavailable where they were never read."""
        with self._lock:
            if self.fresh:
                return
            # As it began: what is changed while it reads may be missing from what it finds.
            state, moment = self._state, time.monotonic()
            try:
                with self._database.read(deadline=WITHIN) as conn:
                    self._found, self.closed = views.usable_keys(conn), views.is_any_key(conn)
            except DatabaseUnavailable:
                if not self._ever:
                    raise
                moment = time.monotonic()  # a lost database is left alone for a while
            self._ever = True
            self._looked = state, moment

    def forget(self) -> None:
        """Something changed: the next look is a look, and one that has begun does not count as it."""
        self._state = object()

    def find(self, text: str) -> KeyView | None:
        """The key with this very text; takes as long whether there is one with its id or not."""
        known = self._found.get(key.id_of(text) or "")
        right = hmac.compare_digest(key.digest(text), known[0].digest if known else _NOBODY)
        return known[1] if known is not None and right else None

    def by_id(self, key_id: str) -> tuple[Kept, KeyView] | None:
        """What the key with this id is checked by, and the key; None where it opens nothing any more."""
        return self._found.get(key_id)

    def used(self, one: KeyView) -> None:
        """Note that this key let somebody in."""
        self._uses.add(one.id)

    def wait(self, one: KeyView) -> float:
        """Seconds until this key may ask again by its rate; 0.0 where it may now, and did."""
        if one.rate is None:
            return 0.0
        if len(self._buckets) > len(self._found) + 100:
            self._buckets.clear()
        return self._buckets.setdefault(one.id, _Bucket(one.rate)).take(one.rate)


class _Bucket:
    """Holds BURST seconds' worth of requests, fills at the key's rate, and gives one to each request."""

    def __init__(self, rate: float) -> None:
        self._left = max(1.0, BURST * rate)
        self._at = time.monotonic()

    def take(self, rate: float) -> float:
        moment = time.monotonic()
        self._left = min(max(1.0, BURST * rate), self._left + (moment - self._at) * rate)
        self._at = moment
        if self._left < 1.0:
            return (1.0 - self._left) / rate
        self._left -= 1.0
        return 0.0
