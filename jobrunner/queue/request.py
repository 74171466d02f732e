"""Turning a request into a :class:`NewTask`: every check that needs no database, and the hash that tells two apart."""

from __future__ import annotations

import hashlib
import math
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import uuid_utils

from jobrunner.errors import InvalidInput, Problem
from jobrunner.queue import codec
from jobrunner.queue.task import DEFAULT_MAX_ATTEMPTS, DEFAULT_PRIORITY, DEFAULT_QUEUE, PRIORITIES, NewTask

NAME_MAX = 200  # characters of a task_id, type, queue or key
TAGS_MAX = 50
MAX_ATTEMPTS_MAX = 1_000
SECONDS_MAX = 366 * 86_400.0


def new_id() -> str:
    """A fresh task_id: UUIDv7, so that ids sort by time."""
    if sys.version_info >= (3, 14):
        import uuid

        return str(uuid.uuid7())
    return str(uuid_utils.uuid7())


class _Checks:
    """Collects every problem, so that a caller mends them all at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def refuse(self, field: str, detail: str) -> None:
        self.problems.append(Problem(f"/{field}", detail))

    def name(self, field: str, value: Any, default: str | None = None) -> Any:
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            self.refuse(field, "must be a text")
        elif not 1 <= len(value) <= NAME_MAX:
            self.refuse(field, f"must have 1 to {NAME_MAX} characters, not {len(value)}")
        elif any(unicodedata.category(ch) in ("Cc", "Cs") for ch in value):
            self.refuse(field, "must hold no control characters")
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
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not right or value > SECONDS_MAX or value < 0 or (value == 0 and not zero):
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
) -> NewTask:
    """Check a request and make it canonical; raises InvalidInput with every problem and where it stands.

    ``timeout`` is in seconds from the handler's start, ``delay`` in seconds from now; ``run_at`` and ``expires_at`` are
    aware. Two requests are the same when type, payload, queue and ``run_at`` (or ``delay``) are equal.
    """
    checks = _Checks()
    checks.name("task_type", task_type)
    if task_id is not None:
        _check_task_id(checks, task_id)
    chosen_queue = checks.name("queue", queue, DEFAULT_QUEUE)
    for field, key in (("unique_key", unique_key), ("concurrency_key", concurrency_key)):
        if key is not None:
            checks.name(field, key)
    if run_at is not None and delay is not None:
        checks.refuse("delay", "give run_at or delay, not both")
    data = {} if payload is None else payload
    if not isinstance(data, Mapping):
        checks.refuse("task_data", "must be an object")
        data = {}
    kept = NewTask(
        task_id=task_id if task_id is not None else new_id(),
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
    )
    text = canonical = ""
    try:
        text, canonical = codec.dump(dict(data), max_bytes=codec.PAYLOAD_MAX_BYTES), codec.canonical(dict(data))
    except InvalidInput as error:
        checks.problems += [Problem(f"/task_data{p.pointer}", p.detail) for p in error.problems] or [
            Problem("/task_data", error.detail)
        ]
    if checks.problems:
        raise InvalidInput("the request is refused", checks.problems)
    return replace(kept, payload=text, request_hash=_hash(kept, canonical))


def _check_task_id(checks: _Checks, task_id: Any) -> None:
    checks.name("task_id", task_id)
    if isinstance(task_id, str) and ("/" in task_id or task_id in (".", "..")):
        checks.refuse("task_id", "must hold no '/' and be neither '.' nor '..': it is a part of a URL's path")


def _tags(checks: _Checks, tags: Any) -> str | None:
    if tags is None:
        return None
    if not isinstance(tags, list) or len(tags) > TAGS_MAX:
        checks.refuse("tags", f"must be a list of at most {TAGS_MAX} texts")
        return None
    for position, tag in enumerate(tags):
        checks.name(f"tags/{position}", tag)
    return None if checks.problems else codec.dump(tags)


def _hash(task: NewTask, canonical: str) -> str:
    when = task.run_at.isoformat() if task.run_at else task.delay
    told = codec.canonical([task.task_type, task.queue, when])
    return hashlib.sha256(f"{told}\n{canonical}".encode()).hexdigest()
