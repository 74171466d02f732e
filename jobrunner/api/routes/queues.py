"""Queues: listed, paused and resumed, limited, emptied."""

from __future__ import annotations

from jobrunner.api.answers_fleet import OperationAnswer, QueueAnswer, QueuesAnswer
from jobrunner.api.headers import LOCATION
from jobrunner.api.route import Call, Content, Route
from jobrunner.api.routes import operations
from jobrunner.api.schemas_fleet import LimitsRequest, PauseRequest, PurgeRequest
from jobrunner.errors import QueueNotFound
from jobrunner.queue import store, views
from jobrunner.queue.key import Scope
from jobrunner.queue.operation import Action
from jobrunner.queue.store import Chosen
from jobrunner.queue.task import Status
from jobrunner.queue.views import TaskFilter, shapes


def listed(call: Call) -> Content:
    """The queues that this caller sees, by name; at most 1,000."""
    with call.service.database.read() as conn:
        return {"queues": [shapes.plain(one) for one in views.all_queues(conn, call.caller.queues)]}


def one(call: Call) -> Content:
    """One queue."""
    with call.service.database.read() as conn:
        return shapes.plain(views.one_queue(conn, _name(call)))


def pause(call: Call) -> Content:
    """Claim nothing of it; what runs goes on, and what is submitted waits. One that nobody knows yet may be paused."""
    name, wish = _name(call), call.body
    with call.change(name, reason=wish.reason) as change:
        store.pause_queue(change.conn, name, by=call.caller.who, reason=wish.reason)
        return shapes.plain(views.one_queue(change.conn, name))


def resume(call: Call) -> Content:
    """Claim from it again."""
    name = _name(call)
    with call.change(name) as change:
        store.resume_queue(change.conn, name)
        told = shapes.plain(views.one_queue(change.conn, name))
    call.service.wake()
    return told


def limit(call: Call) -> Content:
    """Set limits, or lift them."""
    name, wish = _name(call), call.body
    limits = wish.model_dump(exclude_unset=True)
    with call.change(name, **limits) as change:
        store.limit_queue(change.conn, name, **limits)
        told = shapes.plain(views.one_queue(change.conn, name))
    call.service.wake()
    return told


def purge(call: Call) -> Content:
    """Cancel all that waits in it now, as an operation."""
    name = _name(call)
    waiting = TaskFilter(statuses=(Status.PENDING,), queue=name)
    return operations.begin(call, Action.CANCEL, Chosen(filter=waiting), dry_run=call.body.dry_run, target=name)


def _name(call: Call) -> str:
    """The path's queue; raises QueueNotFound where it is not the caller's, as if there were none."""
    name = call.name("name", QueueNotFound)
    if not call.caller.sees(name):
        raise QueueNotFound(name)
    return name


_ALL, _ONE = "/api/v1/queues", "/api/v1/queues/{name}"
ROUTES = (
    Route(_ALL, listed, scope=Scope.READ, summary="List queues", response=QueuesAnswer, by_queue=True),
    Route(_ONE, one, scope=Scope.READ, summary="One queue", response=QueueAnswer, by_queue=True),
    Route(
        f"{_ONE}/pause",
        pause,
        ("POST",),
        Scope.OPERATE,
        "Pause it",
        request=PauseRequest,
        response=QueueAnswer,
        by_queue=True,
    ),
    Route(f"{_ONE}/resume", resume, ("POST",), Scope.OPERATE, "Resume it", response=QueueAnswer, by_queue=True),
    Route(
        _ONE, limit, ("PATCH",), Scope.OPERATE, "Limit it", request=LimitsRequest, response=QueueAnswer, by_queue=True
    ),
    Route(
        f"{_ONE}/purge",
        purge,
        ("POST",),
        Scope.OPERATE,
        "Cancel all that waits in it",
        request=PurgeRequest,
        response=OperationAnswer,
        statuses=(202,),
        tells=(LOCATION,),
        by_queue=True,
    ),
)
