"""The calls of REST as values: what to send, and what may be done when no answer comes. Pure, no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from jobrunner.errors import InvalidInput, Problem
from jobrunner.queue.request import OPTIONS, new_task

TRACEPARENT = "traceparent"  # an option that travels as a header
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True)
class Ask:
    """One request. ``body`` is JSON in UTF-8.

    ``again``: asking twice is as good as asking once. ``changes``: a lost answer leaves open whether it was done.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    task_id: str = ""
    again: bool = True
    changes: bool = False


def get(path: str, task_id: str = "", **query: Any) -> Ask:
    """A call that only looks."""
    return Ask("GET", path, query, task_id=task_id)


def post(path: str, told: Any, *, task_id: str = "", again: bool = False, headers: Mapping[str, str] = {}) -> Ask:
    """A call that changes something."""
    content = {"Content-Type": "application/json", **headers}
    return Ask("POST", path, body=dump(told), headers=content, task_id=task_id, again=again, changes=True)


def execute(task_type: str, task_data: Mapping[str, Any], options: Mapping[str, Any]) -> Ask:
    """Submit one task. With a task_id in ``options`` it may be asked again."""
    task_id = options.get("task_id")
    trace = options.get(TRACEPARENT)
    return post(
        "/api/v1/task/execute",
        wish(task_type, task_data, options),
        task_id=task_id or "",
        again=task_id is not None,
        headers={TRACEPARENT: header(TRACEPARENT, trace)} if trace else {},
    )


def batch(wishes: Sequence[bytes]) -> Ask:
    """Submit many, each with a task_id, as :func:`dump` made them of :func:`wish`."""
    body = b'{"tasks":[%b]}' % b",".join(wishes)
    content = {"Content-Type": "application/json"}
    return Ask("POST", "/api/v1/tasks/batch", body=body, headers=content, again=True, changes=True)


def wish(task_type: str, task_data: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of one submission; raises InvalidInput where the database would refuse it.

    Looked at here, since JSON cannot carry what is wrong with some: a time without its zone would become another time,
    and a key that is a number a text.
    """
    _check(task_type, task_data, options)
    given = {name: _json(value) for name, value in options.items() if value is not None and name != TRACEPARENT}
    return {"task_type": task_type, "task_data": dict(task_data), **given}


def task(task_id: str, wait: float = 0.0) -> Ask:
    """One task; with ``wait`` once it has ended, at the latest after so many seconds."""
    query = {"wait": round(wait, 3)} if wait > 0 else {}
    return get(f"/api/v1/tasks/{part(task_id)}", task_id, **query)


def attempts(task_id: str) -> Ask:
    """The attempts of a task that ended badly or were released."""
    return get(f"/api/v1/tasks/{part(task_id)}/attempts", task_id)


def logs(task_id: str, after: int) -> Ask:
    """A page of kept lines after an offset."""
    return get(f"/api/v1/tasks/{part(task_id)}/logs", task_id, after=after)


def cancel(task_id: str, reason: str) -> Ask:
    """Cancel a task; asking again changes nothing."""
    return post(f"/api/v1/tasks/{part(task_id)}/cancel", {"reason": reason}, task_id=task_id, again=True)


def retry(task_id: str) -> Ask:
    """Run a failed or cancelled task anew: asked twice, it might run twice."""
    return post(f"/api/v1/tasks/{part(task_id)}/retry", {}, task_id=task_id)


def events(queue: str | None = None) -> Ask:
    """The stream of all that changes."""
    return get("/api/v1/events", **({} if queue is None else {"queue": queue}))


def task_events(task_id: str) -> Ask:
    """The stream of one task."""
    return get(f"/api/v1/tasks/{part(task_id)}/events", task_id)


def part(name: str) -> str:
    """``name`` as one part of a path."""
    return quote(name, safe="")


def dump(told: Any) -> bytes:
    """JSON in UTF-8; raises InvalidInput for what has none."""
    try:
        text = json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:  # half a surrogate pair is a ValueError too
        raise InvalidInput("the request is refused", [Problem("", f"is not JSON: {error}")]) from None


def header(name: str, value: Any) -> str:
    """``value`` as that of a header; raises InvalidInput for what is none, before anything is sent."""
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        problem = Problem(f"/{name}", "must be printable ASCII, since it travels in an HTTP header")
        raise InvalidInput(f"this {name} is refused", [problem])
    return value


def _check(task_type: str, task_data: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    known = {name: value for name, value in options.items() if name in OPTIONS}  # a newer server may know others
    new_task(task_type, task_data, **known)


def _json(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
