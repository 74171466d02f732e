"""Cron and intervals: what is read, what is refused, and every firing against a count of the minutes one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobrunner.background.cron import Cron, Every
from jobrunner.errors import InvalidInput

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # its clocks jump at midnight
    "Africa/Casablanca",  # it goes back for Ramadan
    "Asia/Shanghai",
    "Australia/Lord_Howe",  # it jumps by half an hour
)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Written:
    """One field: its text, and the values that it means."""

    text: str
    values: frozenset[int]


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = (), *, open_often: bool = False) -> Written:
    if open_often and draw(st.integers(0, 2)):
        return Written("*", frozenset(range(low, high + 1)))
    parts = draw(st.lists(_part(low, high, names), min_size=1, max_size=3))
    return Written(",".join(part.text for part in parts), frozenset().union(*(part.values for part in parts)))


@st.composite
def _part(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...]) -> Written:
    shape = draw(st.sampled_from(["*", "*/", "one", "from/", "range", "range/"]))
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    if shape.startswith("*"):
        first, last = low, high
    elif shape == "one":
        last = first
    elif shape == "from/":
        last = high
    step = draw(st.integers(1, max(1, last - first))) if shape.endswith("/") else 1
    spelled = [_spelled(draw, value, low, names) for value in (first, last)]
    text = {"*": "*", "one": spelled[0], "from": spelled[0]}.get(shape.rstrip("/"), "-".join(spelled))
    return Written(text + (f"/{step}" if shape.endswith("/") else ""), frozenset(range(first, last + 1, step)))


def _spelled(draw: st.DrawFn, value: int, low: int, names: tuple[str, ...]) -> str:
    words = [str(value), *([names[value - low], names[value - low].lower()] if names else [])]
    return draw(st.sampled_from(words))


@dataclass(frozen=True)
class Moment:
    """One minute as the oracle sees it: its wall time, whether for the second time, and the wall times left out."""

    instant: datetime
    wall: datetime
    again: bool
    skipped: tuple[datetime, ...]


STRETCHES = (  # of 2025, around every change of the clocks in ZONES
    (datetime(2025, 2, 20), datetime(2025, 3, 12)),
    (datetime(2025, 3, 27), datetime(2025, 4, 9)),
    (datetime(2025, 10, 2), datetime(2025, 10, 8)),
    (datetime(2025, 10, 23), datetime(2025, 11, 6)),
)


@cache
def minutes(zone: str, stretch: int) -> list[Moment]:
    """Every minute of a stretch, with what the clock left out just before it."""
    first, last = STRETCHES[stretch]
    instant = first.replace(tzinfo=UTC)
    before = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    found = []
    while instant < last.replace(tzinfo=UTC):
        instant += MINUTE
        local = instant.astimezone(ZoneInfo(zone))
        wall = local.replace(tzinfo=None, fold=0)
        skipped = tuple(before + MINUTE * n for n in range(1, (wall - before) // MINUTE))
        found.append(Moment(instant, wall, local.fold == 1, skipped))
        before = wall
    return found


@dataclass(frozen=True)
class Expression:
    minute: Written
    hour: Written
    day: Written
    month: Written
    weekday: Written

    @property
    def text(self) -> str:
        return " ".join(field.text for field in (self.minute, self.hour, self.day, self.month, self.weekday))

    def allows(self, wall: datetime) -> bool:
        day = wall.day in self.day.values
        weekday = wall.isoweekday() % 7 in self.weekday.values
        both_restricted = "*" not in self.day.text and "*" not in self.weekday.text
        return (
            wall.minute in self.minute.values
            and wall.hour in self.hour.values
            and wall.month in self.month.values
            and ((day or weekday) if both_restricted else (day and weekday))
        )

    def fires(self, moment: Moment) -> bool:
        if "*" in self.hour.text or "/" in self.hour.text or len(self.hour.values) == 24:
            return self.allows(moment.wall)
        return (self.allows(moment.wall) and not moment.again) or any(map(self.allows, moment.skipped))


EXPRESSIONS = st.builds(
    Expression,
    minute=fields(0, 59),
    hour=fields(0, 23),
    day=fields(1, 31, open_often=True),
    month=st.just(Written("*", frozenset(range(1, 13)))) | fields(1, 12, tuple(MONTHS)),
    weekday=fields(0, 6, tuple(WEEKDAYS), open_often=True),
)


@pytest.mark.ci
@given(
    expression=EXPRESSIONS,
    zone=st.sampled_from(ZONES),
    stretch=st.integers(0, len(STRETCHES) - 1),
    data=st.data(),
)
@settings(max_examples=50, deadline=None)
def test_every_firing_is_the_one_that_counting_minutes_finds(
    expression: Expression, zone: str, stretch: int, data: st.DataObject
) -> None:
    table = minutes(zone, stretch)
    changes = [n for n, moment in enumerate(table) if moment.skipped or moment.again] or [0]
    before_a_change = st.sampled_from(changes).map(lambda n: max(0, n - 1500))
    start = data.draw(before_a_change | st.sampled_from(changes) | st.integers(0, len(table) - 1))
    expected = list(islice((moment.instant for moment in table[start + 1 :] if expression.fires(moment)), 40))
    try:
        cron = Cron.parse(expression.text, zone)
    except InvalidInput:
        assert impossible(expression)
        return
    assert not impossible(expression)
    found = list(islice(firings(cron, table[start].instant), len(expected) + 1))
    assert found[: len(expected)] == expected
    if len(expected) < 40:
        assert found[-1] > table[-1].instant


def impossible(expression: Expression) -> bool:
    leap_year = (datetime(2096, 1, 1) + timedelta(days=n) for n in range(366))
    either = "*" not in expression.day.text and "*" not in expression.weekday.text
    return not either and not any(
        day.month in expression.month.values and day.day in expression.day.values for day in leap_year
    )


def firings(times: Cron | Every, after: datetime) -> Iterator[datetime]:
    moment = times.next_after(after)
    while moment is not None:
        yield moment
        moment = times.next_after(moment)


BERLIN, HOWE = "Europe/Berlin", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("0 0 * * 0", "UTC", "2025-10-04T14:00Z", ["2025-10-05T00:00+00:00", "2025-10-12T00:00+00:00"]),
        ("0 0 * * 7", "UTC", "2025-10-04T14:00Z", ["2025-10-05T00:00+00:00", "2025-10-12T00:00+00:00"]),
        ("0 0 * * 6-7", "UTC", "2025-10-04T14:00Z", ["2025-10-05T00:00+00:00", "2025-10-11T00:00+00:00"]),
        ("0 0 * * SAT-sun", "UTC", "2025-10-04T14:00Z", ["2025-10-05T00:00+00:00", "2025-10-11T00:00+00:00"]),
        ("0 0 * * 7-1", "UTC", "2025-10-04T14:00Z", ["2025-10-05T00:00+00:00", "2025-10-06T00:00+00:00"]),
        ("0 0 * * 1-5/2", "UTC", "2025-10-04T14:00Z", ["2025-10-06T00:00+00:00", "2025-10-08T00:00+00:00"]),
        ("0 0 * * */3", "UTC", "2025-10-05T14:00Z", ["2025-10-08T00:00+00:00", "2025-10-11T00:00+00:00"]),
        ("0 0 13 * 5", "UTC", "2025-10-09T00:00Z", ["2025-10-10T00:00+00:00", "2025-10-13T00:00+00:00"]),
        ("0 0 */2 * 5", "UTC", "2025-10-01T00:00Z", ["2025-10-03T00:00+00:00", "2025-10-17T00:00+00:00"]),
        ("0 0 29 2 *", "UTC", "2096-01-01T00:00Z", ["2096-02-29T00:00+00:00", "2104-02-29T00:00+00:00"]),
        ("0 0 30 2 MON", "UTC", "2025-01-01T00:00Z", ["2025-02-03T00:00+00:00", "2025-02-10T00:00+00:00"]),
        ("5/20 * * JAN *", "UTC", "2025-01-01T00:06Z", ["2025-01-01T00:25+00:00", "2025-01-01T00:45+00:00"]),
        ("@hourly", "UTC", "2025-01-01T00:00Z", ["2025-01-01T01:00+00:00", "2025-01-01T02:00+00:00"]),
        ("@daily", "Asia/Shanghai", "2025-01-01T00:00Z", ["2025-01-02T00:00+08:00", "2025-01-03T00:00+08:00"]),
        ("@weekly", "UTC", "2025-10-04T14:00Z", ["2025-10-05T00:00+00:00", "2025-10-12T00:00+00:00"]),
        ("@monthly", "UTC", "2025-10-04T14:00Z", ["2025-11-01T00:00+00:00", "2025-12-01T00:00+00:00"]),
        ("@Yearly", "UTC", "2025-10-04T14:00Z", ["2026-01-01T00:00+00:00", "2027-01-01T00:00+00:00"]),
        # Spring: 02:00 to 03:00 does not exist. Autumn: 02:00 to 03:00 occurs twice.
        ("30 2 * * *", BERLIN, "2025-03-29T12:00Z", ["2025-03-30T03:00+02:00", "2025-03-31T02:30+02:00"]),
        ("* 2 * * *", BERLIN, "2025-03-29T12:00Z", ["2025-03-30T03:00+02:00", "2025-03-31T02:00+02:00"]),
        ("30 2,3 * * *", BERLIN, "2025-03-29T12:00Z", ["2025-03-30T03:00+02:00", "2025-03-30T03:30+02:00"]),
        ("30 * * * *", BERLIN, "2025-03-30T00:00Z", ["2025-03-30T01:30+01:00", "2025-03-30T03:30+02:00"]),
        ("30 2 * * *", BERLIN, "2025-10-25T12:00Z", ["2025-10-26T02:30+02:00", "2025-10-27T02:30+01:00"]),
        ("30 2 * * *", BERLIN, "2025-10-26T01:10Z", ["2025-10-27T02:30+01:00", "2025-10-28T02:30+01:00"]),
        ("30 * * * *", BERLIN, "2025-10-26T00:00Z", ["2025-10-26T02:30+02:00", "2025-10-26T02:30+01:00"]),
        ("30 2-22/2 * * *", BERLIN, "2025-10-26T00:00Z", ["2025-10-26T02:30+02:00", "2025-10-26T02:30+01:00"]),
        ("0 * * * *", BERLIN, "2025-03-30T00:30:00.4Z", ["2025-03-30T03:00+02:00", "2025-03-30T04:00+02:00"]),
        ("30 2 * * *", BERLIN, "2025-03-30T00:30:00.4Z", ["2025-03-30T03:00+02:00", "2025-03-31T02:30+02:00"]),
        ("30 0-23 * * *", BERLIN, "2025-10-26T00:00Z", ["2025-10-26T02:30+02:00", "2025-10-26T02:30+01:00"]),
        ("0 0 * * *", "America/Havana", "2025-03-08T12:00Z", ["2025-03-09T01:00-04:00", "2025-03-10T00:00-04:00"]),
        ("0 0 * * *", "America/Havana", "2025-11-01T12:00Z", ["2025-11-02T00:00-04:00", "2025-11-03T00:00-05:00"]),
        ("15 2 * * *", HOWE, "2025-10-04T00:00Z", ["2025-10-05T02:30+11:00", "2025-10-06T02:15+11:00"]),
        ("45 * * * *", HOWE, "2026-04-04T14:00Z", ["2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30"]),
        # A day that one country left out altogether.
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00Z", ["2011-12-31T00:00+14:00", "2011-12-31T12:00+14:00"]),
    ],
)
def test_a_known_trap(expression: str, zone: str, after: str, expected: list[str]) -> None:
    cron = Cron.parse(expression, zone)
    found = list(islice(firings(cron, datetime.fromisoformat(after)), 2))
    assert [moment.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for moment in found] == expected
    assert {moment.tzinfo for moment in found} == {UTC}


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "0 fields in ''; five are wanted: minute, hour, day of month, month, day of week"),
        ("* * * * * *", "6 fields"),
        ("60 * * * *", "minute: 60 is not between 0 and 59"),
        ("0 24 * * *", "hour: 24 is not between 0 and 23"),
        ("0 0 0 * *", "day of month: 0 is not between 1 and 31"),
        ("0 0 1 13 *", "month: 13 is not between 1 and 12"),
        ("0 0 * * 8", "day of week: 8 is not between 0 and 7"),
        ("0 0 * FOO *", "month: 'foo' is not a number, nor one of JAN FEB"),
        ("0 0 * * MONDAY", "day of week: 'monday' is not a number, nor one of SUN MON"),
        ("0 0 * 5-JAN *", "month: '5-jan' runs backwards"),
        ("0 22-2 * * *", "hour: '22-2' runs backwards"),
        ("*/0 * * * *", "minute: step 0 in '*/0' is not between 1 and 59"),
        ("*/90 * * * *", "minute: step 90 in '*/90' is not between 1 and 59"),
        ("1, * * * *", "minute: cannot read ''"),
        ("-1 * * * *", "minute: cannot read '-1'"),
        ("1.5 * * * *", "minute: cannot read '1.5'"),
        ("٣ * * * *", "minute: cannot read '٣'"),
        ("0 0 ? * *", "day of month: cannot read '?'"),
        ("0 0 * * MON#2", "day of week: cannot read 'mon#2'"),
        ("@reboot", "@reboot is not one of @hourly @daily"),
        ("0 0 30 2 *", "would never fire"),
        ("0 0 31 2,4,6,9,11 *", "would never fire"),
        ("0 0 30 2 */2", "would never fire"),
        ("0," * 300 + "0 * * * *", "at most 500"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(expression: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Cron.parse(expression)
    assert refused.value.problems[0].pointer == "/cron"
    assert told in refused.value.problems[0].detail


def test_every_wrong_field_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        Cron.parse("60 24 1 1 1")
    assert [problem.detail.split(":")[0] for problem in refused.value.problems] == ["minute", "hour"]


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("berlin", "did you mean 'Europe/Berlin'?"),
        ("asia/shanghai", "did you mean 'Asia/Shanghai'?"),
        ("New York", "did you mean 'America/New_York'?"),
        ("", "write it as in Europe/Berlin"),
        ("../../etc/passwd", "write it as in Europe/Berlin"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_name(zone: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Cron.parse("0 0 * * *", zone)
    (problem,) = refused.value.problems
    assert problem.pointer == "/timezone"
    assert problem.detail.endswith(hint) or hint in problem.detail


@pytest.mark.parametrize("expression", ["*/7 9-15 * * MON-FRI", "30 2 * * *", "0 0 29 2 *"])
@pytest.mark.parametrize("limit", [1, 5, 1000])
def test_what_is_due_is_the_latest_firings_of_a_stretch(expression: str, limit: int) -> None:
    cron = Cron.parse(expression, BERLIN)
    after, until = datetime(2024, 1, 5, 0, 7, tzinfo=UTC), datetime(2024, 4, 2, 12, 0, tzinfo=UTC)
    all_of_it = []
    for moment in firings(cron, after):
        if moment > until:
            break
        all_of_it.append(moment)
    assert all_of_it
    assert cron.due_between(after, until, limit) == all_of_it[-limit:]


def test_what_is_due_leaves_out_its_start_and_takes_in_its_end() -> None:
    cron = Cron.parse("@daily")
    first, last = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC)
    assert cron.due_between(first, last, 10) == [datetime(2025, 1, 2, tzinfo=UTC), last]
    assert cron.due_between(first, first, 10) == []
    assert cron.due_between(last, first, 10) == []


def test_the_calendar_ends_without_an_error() -> None:
    end = datetime.max.replace(tzinfo=UTC)
    assert Cron.parse("@hourly").next_after(end) is None
    assert Every(1, end).next_after(end) is None


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        Cron.parse("@hourly").next_after(datetime(2025, 1, 1))
    with pytest.raises(ValueError, match="naive"):
        Every(60, datetime(2025, 1, 1))


@given(
    period=st.integers(1_000_000, 366 * 86_400_000_000),
    since=st.integers(-(10**15), 10**15),
)
def test_an_interval_counts_from_its_anchor_and_never_drifts(period: int, since: int) -> None:
    anchor = datetime(2025, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    moment = anchor + timedelta(microseconds=since)
    found = Every(period / 1_000_000, anchor).next_after(moment)
    assert found is not None
    assert found > moment
    away = (found - anchor) // timedelta(microseconds=1)
    assert away % period == 0
    assert away == max(0, away)
    assert since < 0 or away - period <= since


@pytest.mark.parametrize("seconds", [0, -5, 0.5, float("nan"), float("inf"), 1e12])
def test_an_unusable_interval_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidInput, match="/every"):
        Every(seconds, datetime(2025, 1, 1, tzinfo=UTC))
