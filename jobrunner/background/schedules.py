"""Adding, pausing, resuming, running and removing schedules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from jobrunner.background.cron import Cron, Every
from jobrunner.errors import InvalidInput, Problem, ScheduleNotFound
from jobrunner.queue import codec, store, views
from jobrunner.queue.request import NAME_MAX
from jobrunner.queue.views import ScheduleView
from jobrunner.submission import Request, check_here, prepare, submit

SHORTEST = 1.0  # seconds between two firings
_NEEDED = frozenset({"name", "task_type"})
_OPTIONS = ("queue", "priority", "max_attempts", "timeout")
_KEYS = _NEEDED | {"cron", "every", "timezone", "task_data", *_OPTIONS}


def clock(cron: str | None, every: float | None, timezone: str, anchor: datetime) -> Cron | Every:
    """What tells a schedule's instants; raises InvalidInput where the words make no sense."""
    if (cron is None) == (every is None):
        raise InvalidInput("the schedule is refused", [Problem("/cron", "give either cron or every, in seconds")])
    if cron is not None:
        return Cron.parse(cron, timezone)
    if not isinstance(every, int | float) or isinstance(every, bool) or not every >= SHORTEST:
        raise InvalidInput("the schedule is refused", [Problem("/every", f"must be {SHORTEST:g} seconds or more")])
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
    known = views.schedule(conn, name)
    moment = views.now(conn)
    same = known is not None and (known.cron, known.every, known.timezone) == (cron, every, timezone)
    anchor = known.anchor if known is not None and same else moment
    ticking = clock(cron, every, timezone, anchor)
    # One that is blamed for its clock has no next instant and would never have one again.
    kept = known is not None and same and (known.paused or known.next_at is not None)
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
        "next_at": known.next_at if known is not None and kept else ticking.next_after(moment),
    }
    store.save_schedule(conn, row)
    return _found(conn, name)


def edit(conn: Connection, name: str, changes: Mapping[str, Any], *, allow_unknown: bool = False) -> ScheduleView:
    """Change what is given of what :func:`save` takes, and keep the rest; None for an option leaves it to the handler.

    ``cron`` takes the place of ``every``, and the other way round. Raises ScheduleNotFound and InvalidInput.
    """
    if not store.hold_schedule(conn, name):
        raise ScheduleNotFound(name)
    known = _found(conn, name)
    if "cron" in changes or "every" in changes:
        changes = {"cron": None, "every": None, **changes}
    kept = {key: getattr(known, key) for key in ("cron", "every", "timezone", "task_type", "payload")}
    return save(conn, name, **{**kept, **task_options(known), **changes}, allow_unknown=allow_unknown)


def pause(conn: Connection, name: str) -> ScheduleView:
    """Stop firing until resumed."""
    if not store.set_paused(conn, name, True, None):
        raise ScheduleNotFound(name)
    return _found(conn, name)


def resume(conn: Connection, name: str) -> ScheduleView:
    """Fire again from the next instant on; what was missed meanwhile is not made up.

    Also for a schedule that is not paused but has no next instant, since its clock could not be read.
    """
    known = _found(conn, name)
    if known.paused or known.next_at is None:
        ticking = clock(known.cron, known.every, known.timezone, known.anchor)
        store.set_paused(conn, name, False, ticking.next_after(views.now(conn)))
    return _found(conn, name)


def run_now(conn: Connection, name: str) -> str:
    """Submit the schedule's task at once, besides its instants. Returns the task_id."""
    known = _found(conn, name)
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

    Others stay: another node's file may declare them. Raises InvalidInput, and TypeError for a value of another kind.
    """
    for entry in entries:
        check(entry)
        given = {key: value for key, value in entry.items() if key != "task_data"}
        save(conn, **given, payload=entry.get("task_data"), declared=True, allow_unknown=True)


def check(entry: Mapping[str, Any]) -> None:
    """Refuse what can be seen to be wrong with an entry of the file without a database; raises as ``declare`` does."""
    problems = [Problem(f"/{key}", "is missing") for key in sorted(_NEEDED - entry.keys())]
    problems += [Problem(f"/{key}", "unknown key") for key in sorted(entry.keys() - _KEYS)]
    if problems:
        raise InvalidInput(f"schedule {entry.get('name')!r} is refused", problems)
    _check_name(entry["name"])
    clock(entry.get("cron"), entry.get("every"), entry.get("timezone", "UTC"), datetime.now(UTC))
    options = {key: entry.get(key) for key in _OPTIONS}
    check_here(Request(entry["task_type"], entry.get("task_data") or {}, options))


def task_options(known: Any) -> dict[str, Any]:
    """The options of the tasks that a schedule submits."""
    return {name: getattr(known, name) for name in _OPTIONS}


def _check_name(name: Any) -> None:
    fits = isinstance(name, str) and 1 <= len(name) <= NAME_MAX - 40 and name.isprintable()
    if not fits or "/" in name or name in (".", ".."):
        detail = f"must have 1 to {NAME_MAX - 40} printable characters and no '/', and be neither '.' nor '..'"
        raise InvalidInput("the schedule is refused", [Problem("/name", detail)])


def _found(conn: Connection, name: str) -> ScheduleView:
    known = views.schedule(conn, name)
    if known is None:
        raise ScheduleNotFound(name)
    return known
