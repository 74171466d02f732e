"""Turning a request into a :class:`NewTask`: every check that needs no database, and the hash that tells two apart."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jobrunner.errors import InvalidInput, Problem
from jobrunner.queue import codec
from jobrunner.queue.task import DEFAULT_MAX_ATTEMPTS, DEFAULT_PRIORITY, DEFAULT_QUEUE, PRIORITIES, NewTask
from jobrunner.text import NAME_MAX, UNFIT, has_controls

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    from uuid_utils import uuid7

if TYPE_CHECKING:
    from hashlib import _Hash

TAGS_MAX = 50
MAX_ATTEMPTS_MAX = 1_000
SECONDS_MAX = 366 * 86_400.0

ALIKE = ("queue", "priority", "timeout", "max_attempts", "tags")
"""Of a task's options those that one like it has as well: not what names it, and not when it was to run or to end."""

_NAME = re.compile(f"[^{UNFIT}]{{1,{NAME_MAX}}}")
_PART = re.compile(rf"(?!\.{{1,2}}\Z)[^/{UNFIT}]{{1,{NAME_MAX}}}")


def new_id() -> str:
    """A fresh task_id: UUIDv7, so that ids sort by time."""
    return str(uuid7())


class _Checks:
    """Collects every problem, so that a caller mends them all at once. Each check looks for the common case first."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def refuse(self, field: str, detail: str) -> None:
        self.problems.append(Problem(f"/{field}", detail))

    def name(self, field: str, value: Any) -> Any:
        if type(value) is str and _NAME.fullmatch(value):
            return value
        if not isinstance(value, str):
            self.refuse(field, "must be a text")
        elif not 1 <= len(value) <= NAME_MAX:
            self.refuse(field, f"must have 1 to {NAME_MAX} characters, not {len(value)}")
        elif has_controls(value):
            self.refuse(field, "must hold no control characters")
        return value

    def part(self, field: str, value: Any) -> Any:
        """A name that stands in a path of the API."""
        if type(value) is str and _PART.fullmatch(value):
            return value
        self.name(field, value)
        if isinstance(value, str) and ("/" in value or value in (".", "..")):
            self.refuse(field, "must hold no '/' and be neither '.' nor '..': it is a part of a URL's path")
        return value

    def whole(self, field: str, value: Any, default: int, low: int, high: int) -> int:
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(field, f"must be a whole number from {low} to {high}, not {value!r}")
            return default
        return value

    def seconds(self, field: str, value: Any, *, zero: bool) -> float | None:
        if value is None:
            return None
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not right or not 0 <= value <= SECONDS_MAX or (value == 0 and not zero):  # NaN is not between anything
            self.refuse(field, f"must be {'0' if zero else 'more than 0'} to {SECONDS_MAX:.0f} seconds, not {value!r}")
            return None
        return float(value)

    def moment(self, field: str, value: Any) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            self.refuse(field, "must be a time with its zone, such as 2026-01-31T09:30:00+08:00")
            return None
        try:
            return value.astimezone(UTC)
        except OverflowError:
            self.refuse(field, "lies beyond the calendar, which has the years 1 to 9999 in UTC")
            return None


def new_task(
    task_type: str,
    payload: Mapping[str, Any] | None = None,
    *,
    task_id: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    run_at: datetime | None = None,
    delay: float | None = None,
    timeout: float | None = None,
    max_attempts: int | None = None,
    expires_at: datetime | None = None,
    unique_key: str | None = None,
    concurrency_key: str | None = None,
    parent_id: int | None = None,
    tags: list[str] | None = None,
    traceparent: str | None = None,
    submitted_by: str | None = None,
) -> NewTask:
    """Check a request and make it canonical; raises InvalidInput with every problem and where it stands.

    ``timeout`` is in seconds from the handler's start, ``delay`` in seconds from now; ``run_at`` and ``expires_at`` are
    aware. Two requests are the same when type, payload, queue and ``run_at`` (or ``delay``) are equal.
    """
    checks = _Checks()
    checks.name("task_type", task_type)
    if task_id is not None:
        checks.part("task_id", task_id)
    chosen_queue = DEFAULT_QUEUE if queue is None else checks.part("queue", queue)
    if unique_key is not None:
        checks.name("unique_key", unique_key)
    if concurrency_key is not None:
        checks.name("concurrency_key", concurrency_key)
    if run_at is not None and delay is not None:
        checks.refuse("delay", "give run_at or delay, not both")
    data = {} if payload is None else payload
    if not isinstance(data, Mapping):
        checks.refuse("task_data", "must be an object")
        data = {}
    asked = NewTask(
        task_id="" if task_id is None else task_id,
        task_type=task_type,
        payload="",
        request_hash="",
        queue=chosen_queue,
        priority=checks.whole("priority", priority, DEFAULT_PRIORITY, PRIORITIES[0], PRIORITIES[-1]),
        run_at=checks.moment("run_at", run_at),
        delay=checks.seconds("delay", delay, zero=True),
        timeout=checks.seconds("timeout", timeout, zero=False),
        max_attempts=checks.whole("max_attempts", max_attempts, DEFAULT_MAX_ATTEMPTS, 1, MAX_ATTEMPTS_MAX),
        expires_at=checks.moment("expires_at", expires_at),
        unique_key=unique_key,
        concurrency_key=concurrency_key,
        parent_id=parent_id,
        tags=_tags(checks, tags),
        traceparent=traceparent,
        submitted_by=submitted_by,
    )
    if checks.problems:
        raise InvalidInput("the request is refused", [*checks.problems, *_problems_of(data)])
    return _filled(asked, data, new_id() if task_id is None else task_id)


OPTIONS = frozenset(inspect.signature(new_task).parameters) - {"task_type", "payload"}
_HINTED = sorted(OPTIONS - {"concurrency_key", "parent_id", "submitted_by"})  # the others are not for callers


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that :func:`new_task` does not have, as REST does. Raises InvalidInput."""
    if not options.keys() <= OPTIONS:
        unknown = [str(name) for name in options if name not in OPTIONS]
        raise InvalidInput("the request is refused", [Problem(f"/{name}", _unknown(name)) for name in unknown])


def _unknown(name: str) -> str:
    near = get_close_matches(name, _HINTED, 1)
    return f"unknown field; did you mean '{near[0]}'?" if near else "unknown field"


def another(task: NewTask, payload: Mapping[str, Any]) -> NewTask:
    """A task like this one, with an id of its own and another payload; raises InvalidInput.

    Of many requests that differ in nothing else, all but the first are checked so, at half the price.
    """
    if type(payload) is not dict and not isinstance(payload, Mapping):
        raise InvalidInput("the request is refused", [Problem("/task_data", "must be an object")])
    return _filled(task, payload, new_id())


def _filled(task: NewTask, payload: Mapping[str, Any], task_id: str) -> NewTask:
    try:
        text, canonical = codec.payload(payload if type(payload) is dict else dict(payload))
    except InvalidInput as error:
        raise InvalidInput("the request is refused", _under_task_data(error)) from None
    return NewTask._make((task_id, task.task_type, text, _hash(task, canonical), *task[4:]))


def _problems_of(payload: Mapping[str, Any]) -> list[Problem]:
    try:
        codec.payload(dict(payload))
    except InvalidInput as error:
        return _under_task_data(error)
    return []


def _under_task_data(error: InvalidInput) -> list[Problem]:
    found = [Problem(f"/task_data{p.pointer}", p.detail) for p in error.problems]
    return found or [Problem("/task_data", error.detail)]


def _tags(checks: _Checks, tags: Any) -> str | None:
    if tags is None:
        return None
    if not isinstance(tags, list) or len(tags) > TAGS_MAX:
        checks.refuse("tags", f"must be a list of at most {TAGS_MAX} texts")
        return None
    for position, tag in enumerate(tags):
        checks.name(f"tags/{position}", tag)
    return None if checks.problems else codec.dump(tags)


def _hash(task: NewTask, canonical: bytes) -> str:
    if task.run_at is None and task.delay is None:
        hashed = _begun_now(task.task_type, task.queue).copy()
    else:
        hashed = _begun(task.task_type, task.queue, task.run_at.isoformat() if task.run_at else task.delay)
    hashed.update(canonical)
    return hashed.hexdigest()


@lru_cache(maxsize=256)
def _begun_now(task_type: str, queue: str) -> _Hash:
    return _begun(task_type, queue, None)


def _begun(task_type: str, queue: str, when: str | float | None) -> _Hash:
    return hashlib.sha256(f"{codec.canonical([task_type, queue, when])}\n".encode())
