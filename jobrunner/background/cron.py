"""When a schedule fires: a cron expression in a time zone, or an interval; each gives its next time. Pure.

A wall clock that jumps: a time of day that does not exist fires at the first moment after the gap, and all of one gap
together once; one that occurs twice fires at its first occurrence. Where the hour is ``*``, stepped or all 24, the
schedule follows the real hours instead: every moment whose wall clock matches fires, and nothing is made up for.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from jobrunner.background.crontab import WEEKDAYS, Crontab, Field, read
from jobrunner.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)
SHORTEST, LONGEST = 1.0, 366 * 86400.0  # seconds of an interval
LAST_YEAR = 9900  # beyond it the calendar of datetime ends


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a time zone. Made by :meth:`parse`."""

    expression: str
    zone: ZoneInfo
    _read: Crontab = field(repr=False, compare=False)
    _triggers: tuple[CronTrigger, ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, expression: str, timezone: str = "UTC") -> Cron:
        """Check both and read them.

        Five fields (numbers, names, lists, ranges, steps; 0 and 7 are Sunday) or ``@hourly`` to ``@yearly``. Raises
        InvalidInput with what is wrong in which field, for a day that no month has, and for an unknown zone.
        """
        zone = find_zone(timezone)
        found = read(expression)
        return cls(expression, zone, found, _triggers(found))

    def next_after(self, moment: datetime) -> datetime | None:
        """The first firing later than ``moment`` (aware), in UTC; None only where the calendar ends."""
        after = _utc(moment)
        if after.year > LAST_YEAR:
            return None
        return self._next_real(after) if self._read.by_the_clock else self._next_of_day(after)

    def due_between(self, after: datetime, until: datetime, limit: int) -> list[datetime]:
        """The latest firings, at most ``limit``, later than ``after`` and not later than ``until``; oldest first."""
        return _due_between(self, after, until, limit)

    def _next_of_day(self, after: datetime) -> datetime:
        wall = self._wall(after)
        while True:
            wall = self._next_wall(wall)
            instant = self._instant(wall)
            if instant > after:  # not so in the second pass through an hour that occurs twice
                return instant

    def _next_real(self, after: datetime) -> datetime:
        wall = self._wall(after)
        while True:
            instant = self._next_wall(wall) - self._offset(after)
            change = self._first_change(after, instant)
            if change is None:
                return instant
            after, wall = change, self._wall(change) - TICK

    def _next_wall(self, wall: datetime) -> datetime:
        # Wall clocks are reckoned as if they were UTC: APScheduler's own steps over a change of the clock go wrong.
        coming: list[datetime] = [trigger.get_next_fire_time(None, wall + TICK) for trigger in self._triggers]
        return min(coming)

    def _instant(self, wall: datetime) -> datetime:
        local = wall.replace(tzinfo=self.zone)
        instant = local.astimezone(UTC)
        if self._wall(instant) == wall:
            return instant
        gap_ends = self._first_change(local.replace(fold=1).astimezone(UTC), instant)
        assert gap_ends is not None
        return gap_ends

    def _offset(self, instant: datetime) -> timedelta:
        offset = instant.astimezone(self.zone).utcoffset()
        assert offset is not None
        return offset

    def _wall(self, instant: datetime) -> datetime:
        return instant + self._offset(instant)

    def _first_change(self, start: datetime, end: datetime) -> datetime | None:
        """The first moment after ``start``, up to and with ``end``, with another offset than the one before it."""
        before = self._offset(start)
        while start < end:
            reach = min(start + DAY, end)
            if self._offset(reach) != before:
                return self._change_in_day(start, reach)
            start = reach
        return None

    def _change_in_day(self, start: datetime, end: datetime) -> datetime:
        before = self._offset(start)
        start = start.replace(microsecond=0)  # clocks change at whole seconds
        while (seconds := math.ceil((end - start).total_seconds())) > 1:
            middle = start + timedelta(seconds=seconds // 2)
            start, end = (middle, end) if self._offset(middle) == before else (start, middle)
        return start + timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Every:
    """An interval in seconds (1 to 366 days), counted from an aware ``anchor``, which is its first firing."""

    seconds: float
    anchor: datetime

    def __post_init__(self) -> None:
        if not SHORTEST <= self.seconds <= LONGEST:  # also refuses NaN
            detail = f"{self.seconds!r} is not between {SHORTEST:g} and {LONGEST:g} seconds"
            raise InvalidInput("unusable interval", [Problem("/every", detail)])
        _utc(self.anchor)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first firing later than ``moment`` (aware), in UTC; None only where the calendar ends."""
        after, anchor = _utc(moment), _utc(self.anchor)
        if after.year > LAST_YEAR:
            return None
        period = timedelta(microseconds=round(self.seconds * 1_000_000))
        return anchor if after < anchor else anchor + ((after - anchor) // period + 1) * period

    def due_between(self, after: datetime, until: datetime, limit: int) -> list[datetime]:
        """The latest firings, at most ``limit``, later than ``after`` and not later than ``until``; oldest first."""
        return _due_between(self, after, until, limit)


def _due_between(times: Cron | Every, after: datetime, until: datetime, limit: int) -> list[datetime]:
    after, until = _utc(after), _utc(until)
    window = timedelta(minutes=1)
    while True:  # backwards from until, so that a long absence costs no more than the limit
        start = max(after, until - window)
        found = _forward(times, start, until)
        if start == after or len(found) >= limit:
            return found[-limit:]
        window *= 2


def _forward(times: Cron | Every, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    instant = times.next_after(after)
    while instant is not None and instant <= until:
        found.append(instant)
        instant = times.next_after(instant)
    return found


def find_zone(name: str) -> ZoneInfo:
    """The time zone called ``name``, as in ``Europe/Berlin``; InvalidInput with the nearest name when there is none."""
    if name in _zones():
        return ZoneInfo(name)
    by_ending = {known.lower().rpartition("/")[2]: known for known in sorted(_zones(), reverse=True)}
    by_name = {known.lower(): known for known in _zones()}
    wanted = name.strip().lower().replace(" ", "_")
    names = by_ending | by_name
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    hint = f"; did you mean {names[near[0]]!r}?" if near else "; write it as in Europe/Berlin or Asia/Shanghai"
    raise InvalidInput("unknown time zone", [Problem("/timezone", f"there is no time zone {name!r}{hint}")])


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _triggers(found: Crontab) -> tuple[CronTrigger, ...]:
    from apscheduler.triggers.cron import CronTrigger  # which a worker without schedules has no use for

    day = {"day": _spell(found.day)}
    weekday = {"day_of_week": _spell(found.weekday, WEEKDAYS)}  # by name: APScheduler's 0 is Monday
    time = {"month": _spell(found.month), "hour": _spell(found.hour), "minute": _spell(found.minute)}
    days = [day, weekday] if found.either_day else [{**day, **weekday}]
    if found.either_day and not found.day_exists:
        days = [weekday]
    return tuple(CronTrigger(**time, **chosen, second=0, timezone=UTC) for chosen in days)


def _spell(allowed: Field, names: tuple[str, ...] = ()) -> str:
    if allowed.star and not allowed.stepped:
        return "*"
    return ",".join(names[value] if names else str(value) for value in sorted(allowed.values))


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"naive time {moment.isoformat()}: say its zone")
    return moment.astimezone(UTC)
