"""Adding, pausing, resuming, running and removing schedules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from jobrunner.background.cron import Cron, Every, find_zone
from jobrunner.errors import InvalidInput, Problem, ScheduleNotFound
from jobrunner.queue import codec, store, views
from jobrunner.queue.request import SECONDS_MAX
from jobrunner.queue.views import ScheduleView
from jobrunner.submission import Request, check_here, prepare, submit
from jobrunner.text import NAME_MAX

SHORTEST = 1.0  # seconds between two firings
_NEEDED = frozenset({"name", "task_type"})
_OPTIONS = ("queue", "priority", "max_attempts", "timeout")
_CHANGEABLE = frozenset({"cron", "every", "timezone", "task_type", "task_data", "arguments", *_OPTIONS})
_KEYS = _CHANGEABLE - {"arguments"} | {"name"}


def clock(cron: str | None, every: float | None, timezone: str, anchor: datetime) -> Cron | Every:
    """What tells a schedule's instants; raises InvalidInput where the words make no sense."""
    if (cron is None) == (every is None):
        raise _refused("cron", "give either cron or every, in seconds")
    if cron is not None:
        return Cron.parse(_text("cron", cron), _text("timezone", timezone))
    if not isinstance(every, int | float) or isinstance(every, bool) or not SHORTEST <= every <= SECONDS_MAX:
        raise _refused("every", f"must be {SHORTEST:g} to {SECONDS_MAX:.0f} seconds")
    return Every(float(every), anchor)


def save(
    conn: Connection,
    name: str,
    *,
    cron: str | None = None,
    every: float | None = None,
    timezone: str = "UTC",
    task_type: str,
    payload: Mapping[str, Any] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    max_attempts: int | None = None,
    timeout: float | None = None,
    declared: bool = False,
    allow_unknown: bool = False,
) -> ScheduleView:
    """Add or replace a schedule; the task that it will submit is checked now, as a request would be.

    An unchanged clock keeps its next instant; an interval counts from the moment it was first stored.
    """
    _check_name(name)
    find_zone(_text("timezone", timezone))  # also for an interval, whose clock may become a cron expression
    store.hold_schedule(conn, name)  # who resumes or edits it at the same time shall see this, or be seen
    known = views.schedule(conn, name)
    moment = views.now(conn)
    same = known if known is not None and _same_clock(known, cron, every, timezone) else None
    anchor = same.anchor if same is not None else moment
    next_at = clock(cron, every, timezone, anchor).next_after(moment)
    if known is not None and known.paused:
        next_at = None
    elif same is not None:  # one that is blamed for its clock has none, and would never have one again
        next_at = same.next_at or next_at
    options = {"queue": queue, "priority": priority, "max_attempts": max_attempts, "timeout": timeout}
    checked = prepare(conn, Request(task_type, payload or {}, options), allow_unknown=allow_unknown)
    row = {
        "name": name,
        "cron": cron,
        "every": every,
        "timezone": timezone,
        "anchor": anchor,
        "task_type": task_type,
        "payload": codec.dump(dict(payload or {})),
        "queue": checked.queue,
        "priority": checked.priority,
        "max_attempts": max_attempts,
        "timeout": timeout,
        "declared": declared,
        "next_at": next_at,
    }
    store.save_schedule(conn, row)
    return found(conn, name)


def edit(conn: Connection, name: str, changes: Mapping[str, Any], *, allow_unknown: bool = False) -> ScheduleView:
    """Change what is given, spelled as in REST, and keep the rest; None for an option leaves it to the handler.

    ``cron`` takes the place of ``every``, and the other way round; ``arguments`` change some of ``task_data``. Raises
    ScheduleNotFound and InvalidInput.
    """
    unknown = [Problem(f"/{key}", "unknown key") for key in sorted(changes.keys() - _CHANGEABLE)]
    if unknown:
        raise InvalidInput("the schedule is refused", unknown)
    known = _held(conn, name)
    asked = {key: getattr(known, key) for key in ("cron", "every", "timezone", "task_type", "declared", *_OPTIONS)}
    if "cron" in changes or "every" in changes:
        asked |= {"cron": None, "every": None}
    asked |= changes
    payload: dict[str, Any] = {}
    for key in ("task_data", "arguments"):
        data = asked.pop(key, known.payload if key == "task_data" else {})
        if not isinstance(data, Mapping):
            raise _refused(key, "must be an object")
        payload |= data
    kind_stays = asked["task_type"] == known.task_type  # one of the file may wait for the first worker that knows it
    return save(conn, name, **asked, payload=payload, allow_unknown=allow_unknown or kind_stays)


def pause(conn: Connection, name: str) -> ScheduleView:
    """Stop firing until resumed."""
    if not store.set_paused(conn, name, True, None):
        raise ScheduleNotFound(name)
    return found(conn, name)


def resume(conn: Connection, name: str) -> ScheduleView:
    """Fire again from the next instant on; what was missed meanwhile is not made up.

    Also for a schedule that is not paused but has no next instant, since its clock could not be read.
    """
    known = _held(conn, name)
    if known.paused or known.next_at is None:
        ticking = clock(known.cron, known.every, known.timezone, known.anchor)
        store.set_paused(conn, name, False, ticking.next_after(views.now(conn)))
    return found(conn, name)


def run_now(conn: Connection, name: str) -> str:
    """Submit the schedule's task at once, besides its instants. Returns the task_id."""
    known = found(conn, name)
    moment = views.now(conn)
    task_id = f"{name}@{moment:%Y-%m-%dT%H:%M:%S.%fZ}"
    store.fire(conn, name, moment, task_id, manual=True)
    submit(conn, known.task_type, known.payload, allow_unknown=True, task_id=task_id, **task_options(known))
    return task_id


def remove(conn: Connection, name: str) -> None:
    """Delete a schedule; tasks that it submitted stay."""
    if not store.remove_schedule(conn, name):
        raise ScheduleNotFound(name)


def declare(conn: Connection, entries: list[dict[str, Any]]) -> None:
    """Add or replace the schedules of the configuration file, which are spelled as in REST.

    Others stay: another node's file may declare them. Raises InvalidInput.
    """
    for entry in entries:
        check(entry)
    for entry in sorted(entries, key=itemgetter("name")):  # each holds its row: of two starts one waits for the other
        given = {key: value for key, value in entry.items() if key != "task_data"}
        save(conn, **given, payload=entry.get("task_data"), declared=True, allow_unknown=True)


def check(entry: Mapping[str, Any]) -> None:
    """Refuse what can be seen to be wrong with an entry of the file without a database; raises InvalidInput."""
    problems = [Problem(f"/{key}", "is missing") for key in sorted(_NEEDED - entry.keys())]
    problems += [Problem(f"/{key}", "unknown key") for key in sorted(entry.keys() - _KEYS)]
    if problems:
        raise InvalidInput(f"schedule {entry.get('name')!r} is refused", problems)
    _check_name(entry["name"])
    find_zone(_text("timezone", entry.get("timezone", "UTC")))
    clock(entry.get("cron"), entry.get("every"), entry.get("timezone", "UTC"), datetime.now(UTC))
    options = {key: entry.get(key) for key in _OPTIONS}
    check_here(Request(_text("task_type", entry["task_type"]), entry.get("task_data") or {}, options))


def audited(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the audit tells of an entry or a change: of its arguments the names alone, since they may hold secrets."""
    told = {key: value for key, value in entry.items() if key not in ("name", "task_data", "arguments")}
    given = [data for key in ("task_data", "arguments") if isinstance(data := entry.get(key), Mapping)]
    return {"entry": told, "arguments": sorted({str(name) for data in given for name in data})}


def task_options(known: Any) -> dict[str, Any]:
    """The options of the tasks that a schedule submits."""
    return {name: getattr(known, name) for name in _OPTIONS}


def _check_name(name: Any) -> None:
    fits = isinstance(name, str) and 1 <= len(name) <= NAME_MAX - 40 and name.isprintable()
    if not fits or "/" in name or name in (".", ".."):
        detail = f"must have 1 to {NAME_MAX - 40} printable characters and no '/', and be neither '.' nor '..'"
        raise _refused("name", detail)


def _same_clock(known: ScheduleView, cron: str | None, every: float | None, timezone: str) -> bool:
    """An interval has the same in every zone."""
    return (known.cron, known.every) == (cron, every) and (cron is None or known.timezone == timezone)


def _refused(key: str, detail: str) -> InvalidInput:
    return InvalidInput("the schedule is refused", [Problem(f"/{key}", detail)])


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refused(key, "must be a text")
    return value


def _held(conn: Connection, name: str) -> ScheduleView:
    """As it is now, and until the transaction ends."""
    store.hold_schedule(conn, name)
    return found(conn, name)


def found(conn: Connection, name: str) -> ScheduleView:
    """One schedule as it is; raises ScheduleNotFound."""
    known = views.schedule(conn, name)
    if known is None:
        raise ScheduleNotFound(name)
    return known
