"""A clock that only the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """The time of what a context is told, for :func:`jobrunner.testing.run`; it stands still until it is moved.

    It is not the time of the handler's own ``time.time()`` or ``datetime.now()``.
    """

    def __init__(self, start: datetime = START) -> None:
        self.set(start)

    @property
    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return self._now

    def set(self, moment: datetime) -> None:
        """Move it to a moment, forwards or backwards; raises ValueError for one without a zone."""
        if moment.tzinfo is None:
            raise ValueError(f"naive time {moment.isoformat()}: say its zone")
        self._now = moment.astimezone(UTC)

    def advance(self, seconds: float) -> None:
        """Move it on by so many seconds; raises ValueError for less than none."""
        if not seconds >= 0:
            raise ValueError(f"advance({seconds!r}) is no way on; set(...) moves it backwards")
        self._now += timedelta(seconds=seconds)
