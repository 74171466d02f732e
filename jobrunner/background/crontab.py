"""The text of a cron expression, read into the values that each of its five fields allows. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobrunner.errors import InvalidInput, Problem

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
PART = re.compile(r"(?:(?P<star>\*)|(?P<first>[0-9a-z]+)(?:-(?P<last>[0-9a-z]+))?)(?:/(?P<step>[0-9]+))?")
POINTER = "/cron"
LENGTH = 500


@dataclass(frozen=True, slots=True)
class Field:
    """What one field allows: its ``values``, and whether it was written with a ``*`` or a step."""

    values: frozenset[int]
    star: bool
    stepped: bool


@dataclass(frozen=True, slots=True)
class Crontab:
    """An expression, read. Weekdays count from 0, Sunday."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def either_day(self) -> bool:
        """Both the day of the month and the weekday are restricted: then one of them is enough, as in cron."""
        return not self.day.star and not self.weekday.star

    @property
    def day_exists(self) -> bool:
        """One of the months has one of the days."""
        return any(day <= LONGEST[month - 1] for month in self.month.values for day in self.day.values)

    @property
    def by_the_clock(self) -> bool:
        """The hour is open or stepped: the schedule follows real hours, not times of the day."""
        return self.hour.star or self.hour.stepped or len(self.hour.values) == 24


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, word: str) -> int:
        if word in self.names:
            return self.names.index(word) + self.low
        if not word.isdecimal():
            known = f", nor one of {' '.join(self.names).upper()}" if self.names else ""
            raise ValueError(f"{word!r} is not a number{known}")
        value = int(word)
        if not self.low <= value <= self.high:
            raise ValueError(f"{word} is not between {self.low} and {self.high}")
        return value


KINDS = (
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of month", 1, 31),
    _Kind("month", 1, 12, MONTHS),
    _Kind("day of week", 0, 7, WEEKDAYS),
)


def read(expression: str) -> Crontab:
    """Read five fields or a macro such as ``@daily``. Raises InvalidInput that names every wrong field."""
    if len(expression) > LENGTH:
        raise _refused(f"{len(expression)} characters; at most {LENGTH}")
    written = expression.strip().lower()
    if written.startswith("@"):
        if written not in MACROS:
            raise _refused(f"{written} is not one of {' '.join(MACROS)}")
        written = MACROS[written]
    words = written.split()
    if len(words) != len(KINDS):
        wanted = ", ".join(kind.name for kind in KINDS)
        raise _refused(f"{len(words)} fields in {expression!r}; five are wanted: {wanted}")
    fields, problems = [], []
    for kind, word in zip(KINDS, words, strict=True):
        try:
            fields.append(_field(kind, word))
        except ValueError as error:
            problems.append(f"{kind.name}: {error}")
    if problems:
        raise _refused(*problems)
    found = Crontab(*fields)
    if not found.either_day and not found.day_exists:
        raise _refused(f"{expression!r} names a day that no such month has, so it would never fire")
    return found


def _refused(*details: str) -> InvalidInput:
    return InvalidInput("unusable cron expression", [Problem(POINTER, detail) for detail in details])


def _field(kind: _Kind, word: str) -> Field:
    values: set[int] = set()
    star = stepped = False
    for part in word.split(","):
        match = PART.fullmatch(part)
        if match is None:
            raise ValueError(f"cannot read {part!r}; write *, 5, 1-5, */10, 1-31/2 or a list of them")
        values.update(_part(kind, part, match))
        star |= match["star"] is not None
        stepped |= match["step"] is not None
    if kind.high == 7:
        values = {value % 7 for value in values}  # 7 is Sunday as well
    return Field(frozenset(values), star, stepped)


def _part(kind: _Kind, part: str, match: re.Match[str]) -> range:
    if match["star"]:
        first, last = kind.low, 6 if kind.high == 7 else kind.high
    else:
        first = kind.number(match["first"])
        last = kind.number(match["last"]) if match["last"] else first
        if kind.high == 7 and match["last"] and last < first:
            first, last = (0, last) if first == 7 else (first, 7 if last == 0 else last)
        if last < first:
            raise ValueError(f"{part!r} runs backwards; write it as two ranges")
    if match["step"] is None:
        return range(first, last + 1)
    if not match["star"] and not match["last"]:
        last = 6 if kind.high == 7 and first < 7 else kind.high  # 5/15 means from 5 on
    step = int(match["step"])
    if not 1 <= step <= max(1, last - first):
        raise ValueError(f"step {match['step']} in {part!r} is not between 1 and {max(1, last - first)}")
    return range(first, last + 1, step)
