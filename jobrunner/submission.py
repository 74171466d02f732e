"""Submitting: the one way from a request to ``store.enqueue``, whoever asks.

A request is checked against its handler where this process has it, else against the JSON Schema that a worker
published; the type's own defaults fill what the request leaves open.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection

from jobrunner.db.driver import refuse_foreign
from jobrunner.db.undo import refuse_autocommit
from jobrunner.errors import UnknownTaskType
from jobrunner.handlers import Handler, find, handlers
from jobrunner.handlers.published import Published, published
from jobrunner.queue import store, views
from jobrunner.queue.request import another, check_options, new_task
from jobrunner.queue.store import Submitted
from jobrunner.queue.task import NewTask

_DEFAULTS = ("queue", "priority", "max_attempts", "timeout")


class Request(NamedTuple):
    """What a caller asks for; ``options`` are those of :func:`jobrunner.queue.request.new_task`."""

    task_type: str
    payload: Mapping[str, Any] = MappingProxyType({})
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def keyed(self) -> bool:
        """Whether it can meet another task: it brings a task_id or a unique_key."""
        return self.options.get("task_id") is not None or self.options.get("unique_key") is not None


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
    max_attempts, expires_at, unique_key, tags, traceparent. Raises InvalidInput, UnknownTaskType or TaskExists, and
    HandlerError where ``conn`` is in AUTOCOMMIT: the task would run though the caller rolls back. TypeError where it is
    no SQLAlchemy Connection of psycopg 3 on PostgreSQL, such as a Session, which has one.
    """
    refuse_foreign(conn)
    refuse_autocommit(conn)
    return store.enqueue(
        conn,
        prepare(conn, Request(task_type, {} if payload is None else payload, options), allow_unknown=allow_unknown),
    )


def submit_many(conn: Connection, requests: Sequence[Request], *, allow_unknown: bool = False) -> list[Submitted]:
    """Add tasks in the caller's transaction, all or none; one answer each, in order.

    Many that bring neither task_id nor unique_key are stored while they are checked, several times as fast.
    """
    fresh = not any(request.options and request.keyed for request in requests)
    return store.enqueue_many(conn, _checked(conn, requests, allow_unknown), fresh=fresh)


def prepare(conn: Connection, request: Request, *, allow_unknown: bool = False) -> NewTask:
    """Check a request and fill in its type's defaults; changes nothing."""
    kind = _kind_here(request.task_type)
    return next(_checked(conn, [request], allow_unknown)) if kind is None else _one(request, kind, {})


def check_here(request: Request) -> NewTask:
    """Check a request as far as this process can without a database: by its handler, where that is here."""
    return _one(request, _kind_here(request.task_type), {})


def _checked(conn: Connection, requests: Sequence[Request], allow_unknown: bool) -> Iterator[NewTask]:
    """Look up the types of all requests, now; then check one request after the other, asking nothing of ``conn``."""
    names = {request.task_type for request in requests}
    kinds = {name: kind for name in names if (kind := _kind_here(name)) is not None}
    nearest: dict[str, str | None] = {}
    if len(kinds) < len(names):
        found = published(conn, names - kinds.keys())
        kinds |= {name: _Kind(_defaults(kind), kind.check) for name, kind in found.items()}
        if not allow_unknown:
            nearest = {name: _nearest(conn, name) for name in names - kinds.keys()}
    return (_one(request, kinds.get(request.task_type), nearest) for request in requests)


@dataclass(slots=True)
class _Kind:
    """A task type as requests need it: the options that it sets, and its look at a payload (raises InvalidInput).

    ``model`` is the first task of a request without options, which the next ones are like.
    """

    defaults: dict[str, Any]
    check: Callable[[dict[str, Any]], object]
    handler: Handler | None = None
    model: NewTask | None = None


_here: dict[str, _Kind] = {}


def _kind_here(name: str) -> _Kind | None:
    """The type where its handler is here, made once: it takes as long as the check itself."""
    handler = find(name)
    if handler is None:
        return None
    kind = _here.get(name)
    if kind is None or kind.handler is not handler:
        kind = _here[name] = _Kind(_defaults(handler), handler.arguments.check, handler)
    return kind


def _defaults(known: Handler | Published) -> dict[str, Any]:
    return {name: getattr(known, name) for name in _DEFAULTS}


def _one(request: Request, kind: _Kind | None, nearest: Mapping[str, str | None]) -> NewTask:
    options = request.options
    if options:
        check_options(options)
    if kind is None:
        new = new_task(request.task_type, request.payload, **options)
        if request.task_type in nearest:
            raise UnknownTaskType(request.task_type, nearest[request.task_type])
        return new
    if options:
        given = {name: value for name, value in options.items() if value is not None}
        new = new_task(request.task_type, request.payload, **(kind.defaults | given))
    elif kind.model is not None:
        new = another(kind.model, request.payload)
    else:
        new = kind.model = new_task(request.task_type, request.payload, **kind.defaults)
    payload = request.payload
    kind.check(payload if type(payload) is dict else dict(payload))
    return new


def _nearest(conn: Connection, task_type: Any) -> str | None:
    names = [*handlers(), *(kind["name"] for kind in views.published_types(conn))]
    return next(iter(difflib.get_close_matches(str(task_type), names, 1)), None)
