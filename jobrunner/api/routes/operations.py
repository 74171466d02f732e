"""Operations: what is done to many tasks at once, begun, looked at, aborted."""

from __future__ import annotations

from urllib.parse import quote

from jobrunner.api.answers_fleet import OperationAnswer, OperationsAnswer
from jobrunner.api.headers import LOCATION
from jobrunner.api.problems import Refused
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.schemas_fleet import OperationRequest
from jobrunner.background.operations import Operations
from jobrunner.errors import DatabaseUnavailable, OperationNotFound
from jobrunner.logs import get_logger
from jobrunner.queue import store, views
from jobrunner.queue.key import Scope
from jobrunner.queue.operation import Action
from jobrunner.queue.store import Chosen
from jobrunner.queue.views import shapes

AT_ONCE = 0.2  # seconds for which an operation is carried on before its beginning is answered; the duties do the rest

log = get_logger(__name__)


def listed(call: Call) -> Content:
    """The latest 200, newest first; of all queues, or those that touch no queue but the caller's."""
    with call.service.database.read() as conn:
        return {"operations": [shapes.plain(one) for one in views.all_operations(conn, call.caller.queues)]}


def one(call: Call) -> Content:
    """One operation, and how far it is."""
    with call.service.database.read() as conn:
        return shapes.plain(views.one_operation(conn, _id(call), call.caller.queues))


def start(call: Call) -> Content:
    """Begin one, for the tasks that there are now; what is small is done when the answer comes."""
    wish: OperationRequest = call.body
    action = Action(wish.action)
    if action is Action.RERUN and Scope.SUBMIT not in call.caller.scopes:
        raise Refused(403, "forbidden", "to run tasks again adds tasks, so it takes the scope submit as well")
    return begin(call, action, wish.chosen(), dry_run=wish.dry_run)


def begin(call: Call, action: Action, chosen: Chosen, *, dry_run: bool, target: str | None = None) -> Content:
    """Begin an operation within the caller's queues, and answer with it."""
    with call.change(target, action=action, dry_run=dry_run, **chosen.told()) as change:
        operation_id = store.begin_operation(
            change.conn, action, chosen, queues=call.caller.queues, dry_run=dry_run, by=call.caller.who
        )
        if target is None:
            change.target = operation_id
        else:
            change.tell(operation=operation_id)
    service = call.service
    operations = Operations(
        service.database, ended=service.ends.ended, cancel_hint=service.cancel_hint, wake=service.wake
    )
    try:
        operations.carry_on(operation_id, budget=AT_ONCE)
    except DatabaseUnavailable as error:  # it is begun: the duties carry on with it
        log.debug("operation waits for the database", operation=operation_id, error=str(error))
    with service.database.read() as conn:
        told = shapes.plain(views.one_operation(conn, operation_id))
    base = call.request.scope.get("root_path", "")
    return Answer(told, 202, {"Location": f"{base}{_ALL}/{quote(operation_id, safe='')}"})


def abort(call: Call) -> Content:
    """End it before its end: what it changed stays so. One that has ended stays as it is."""
    with call.change(_id(call)) as change:
        views.one_operation(change.conn, _id(call), call.caller.queues)
        store.abort_operation(change.conn, _id(call))
        return shapes.plain(views.one_operation(change.conn, _id(call)))


def _id(call: Call) -> str:
    return call.name("operation_id", OperationNotFound)


_ALL, _ONE = "/api/v1/operations", "/api/v1/operations/{operation_id}"
ROUTES = (
    Route(_ALL, listed, scope=Scope.READ, summary="List operations", response=OperationsAnswer, by_queue=True),
    Route(
        _ALL,
        start,
        ("POST",),
        Scope.OPERATE,
        "Cancel, retry, delete or run again many tasks",
        request=OperationRequest,
        response=OperationAnswer,
        statuses=(202,),
        tells=(LOCATION,),
        by_queue=True,
    ),
    Route(_ONE, one, scope=Scope.READ, summary="One operation", response=OperationAnswer, by_queue=True),
    Route(_ONE, abort, ("DELETE",), Scope.OPERATE, "Abort it", response=OperationAnswer, by_queue=True),
)
