"""Submitting: the one way from a request to ``store.enqueue``, whoever asks.

A request is checked against its handler where this process has it, else against the JSON Schema that a worker
published; the type's own defaults fill what the request leaves open.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator
from sqlalchemy import Connection

from jobrunner.errors import InvalidInput, Problem, UnknownTaskType
from jobrunner.handlers import handlers
from jobrunner.queue import store, views
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Submitted
from jobrunner.queue.task import NewTask

_DEFAULTS = ("queue", "priority", "max_attempts", "timeout")


@dataclass(frozen=True)
class Request:
    """What a caller asks for; ``options`` are those of :func:`jobrunner.queue.request.new_task`."""

    task_type: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def submit(
    conn: Connection,
    task_type: str,
    payload: Mapping[str, Any] | None = None,
    *,
    allow_unknown: bool = False,
    **options: Any,
) -> Submitted:
    """Add one task in the caller's transaction: it runs if, and only if, that transaction commits.

    ``options``: task_id, queue, priority (1 first), run_at (aware) or delay (seconds), timeout (seconds),
    max_attempts, expires_at, unique_key, tags, traceparent. Raises InvalidInput, UnknownTaskType or TaskExists.
    """
    return submit_many(conn, [Request(task_type, payload or {}, options)], allow_unknown=allow_unknown)[0]


def submit_many(conn: Connection, requests: Sequence[Request], *, allow_unknown: bool = False) -> list[Submitted]:
    """Add tasks in the caller's transaction, all or none; one answer each, in order."""
    return store.enqueue_many(conn, prepare(conn, requests, allow_unknown=allow_unknown))


def prepare(conn: Connection, requests: Sequence[Request], *, allow_unknown: bool = False) -> list[NewTask]:
    """Check requests and fill in their types' defaults; changes nothing."""
    elsewhere = sorted({request.task_type for request in requests} - handlers().keys())
    published = store.published(conn, elsewhere) if elsewhere else {}
    return [_prepared(conn, request, published, allow_unknown) for request in requests]


def _prepared(conn: Connection, request: Request, published: Mapping[str, Any], allow_unknown: bool) -> NewTask:
    known: Any = handlers().get(request.task_type) or published.get(request.task_type)
    options = dict(request.options)
    for name in _DEFAULTS:
        if known is not None and options.get(name) is None:
            options[name] = getattr(known, name)
    new = new_task(request.task_type, request.payload, **options)
    if known is None:
        if not allow_unknown:
            raise UnknownTaskType(request.task_type, _nearest(conn, request.task_type))
    elif request.task_type in published:
        _check_schema(json.loads(known.schema), request.payload)
    else:
        known.validate(dict(request.payload))
    return new


def _nearest(conn: Connection, task_type: str) -> str | None:
    names = [*handlers(), *(kind["name"] for kind in views.published_types(conn))]
    return next(iter(difflib.get_close_matches(task_type, names, 1)), None)


def _check_schema(schema: dict[str, Any], payload: Mapping[str, Any]) -> None:
    problems = [
        Problem("/".join(["/task_data", *(str(step) for step in error.absolute_path)]), error.message)
        for error in Draft202012Validator(schema).iter_errors(dict(payload))
    ]
    if problems:
        raise InvalidInput("the arguments are refused", problems)
