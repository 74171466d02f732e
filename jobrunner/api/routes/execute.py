"""The guide's two calls on a task: submit it, and ask how it stands."""

from __future__ import annotations

import re
from urllib.parse import quote

from jobrunner.api import wire
from jobrunner.api.intake import Intake
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.routes.tasks import awaited
from jobrunner.api.schemas import ExecuteRequest
from jobrunner.api.waits import Waits
from jobrunner.queue.key import Scope
from jobrunner.queue.views import TaskView
from jobrunner.settings.failpoints import hit
from jobrunner.submission import Request

POLL_AFTER = "1"  # seconds
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def status_path(call: Call, task_id: str) -> str:
    """Where a task's status stands, whatever characters its id has."""
    root = call.request.scope.get("root_path", "")
    return f"{root}/api/v1/task/{quote(task_id, safe='@:')}/status"


def request_of(call: Call, wish: ExecuteRequest) -> Request:
    """What is asked for, by whom, and in which trace."""
    options = wish.options()
    trace = call.request.headers.get("traceparent", "")
    if _TRACEPARENT.fullmatch(trace):
        options["traceparent"] = trace
    options["submitted_by"] = call.caller.who
    return Request(wish.task_type, wish.task_data, options)


async def execute(call: Call) -> Content:
    """Queue one task. 202; 200 where an equal request made it before; a full node queues and never refuses."""
    intake: Intake = call.request.app.state.intake
    found = await intake.submit(request_of(call, call.body), call.caller)
    hit("submit-after-commit")
    headers = {"Location": status_path(call, found.task_id)}
    if isinstance(found, TaskView):
        return Answer(wire.task_response(found), 200, headers)
    call.service.wake()
    waits: Waits = call.request.app.state.waits
    waits.submitted(found.task_id)
    told = wire.TaskResponse(task_id=found.task_id, status=found.status, message="accepted")
    return Answer(told, 202, {**headers, "Retry-After": POLL_AFTER})


async def status(call: Call) -> Content:
    """How one task stands, with its result or error; with ``wait`` once it has ended, or after so many seconds."""
    return wire.task_status(await awaited(call))


ROUTES = (
    Route(
        "/api/v1/task/execute",
        execute,
        ("POST",),
        Scope.SUBMIT,
        "Submit a task",
        request=ExecuteRequest,
        response=wire.TaskResponse,
        by_queue=True,
    ),
    Route(
        "/api/v1/task/{task_id}/status",
        status,
        scope=Scope.READ,
        summary="How a task stands",
        response=wire.TaskStatus,
        by_queue=True,
    ),
)
