"""The guide's two calls on a task: submit it, and ask how it stands."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from jobrunner.api import polls, prefer, wire
from jobrunner.api.headers import (
    ETAG,
    IDEMPOTENCY_KEY,
    IDEMPOTENT_REPLAYED,
    IF_NONE_MATCH,
    LOCATION,
    PREFER,
    PREFERENCE_APPLIED,
    RETRY_AFTER,
    TRACEPARENT,
)
from jobrunner.api.intake import Intake
from jobrunner.api.prefer import Wait
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.schemas import ExecuteRequest, WaitQuery
from jobrunner.api.waits import Waits
from jobrunner.queue.key import Scope
from jobrunner.queue.task import ENDED
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
    return Request(wish.task_type, wish.task_data, {**wish.options(), **origin_of(call)})


def origin_of(call: Call) -> dict[str, Any]:
    """Who asks, and in which trace, as options of ``submit``."""
    trace = call.request.headers.get("traceparent", "")
    traced = {"traceparent": trace} if _TRACEPARENT.fullmatch(trace) else {}
    return {**traced, "submitted_by": call.caller.who}


async def execute(call: Call) -> Content:
    """Queue one task. 202; 200 where an equal request made it before; a full node queues and never refuses.

    ``Idempotency-Key`` is the ``task_id`` of a body that has none. With ``Prefer: wait=30`` the answer waits for so
    many seconds: 200 and the task's status once it has ended, else 202.
    """
    wish: ExecuteRequest = call.body
    named = prefer.idempotency_key(call.request, wish.task_id)
    if named is not None:
        wish.task_id = named
    intake: Intake = call.request.app.state.intake
    waits: Waits = call.request.app.state.waits
    found = await intake.submit(request_of(call, wish), call.caller)
    hit("submit-after-commit")
    wait = prefer.wait(call.request)
    message = "this task was submitted before" if isinstance(found, TaskView) else "accepted"
    replayed = isinstance(found, TaskView) and found.task_id == wish.task_id
    if isinstance(found, TaskView):
        if found.submitted_by != call.caller.who and Scope.READ not in call.caller.scopes:
            wait = Wait()  # somebody else's request made it, and its result is for readers
    else:
        call.service.wake()
        waits.submitted(found.task_id)
    headers = {"Location": status_path(call, found.task_id), **wait.headers}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    if wait.seconds and found.status not in ENDED:
        found = await waits.task(call.request, found.task_id, wait.seconds)
        call.must_see(found.queue, found.task_id)  # meanwhile the id may have come to stand for another task
    if wait.preferred and isinstance(found, TaskView) and found.status in ENDED:
        return Answer(wire.task_status(found), 200, headers)
    if isinstance(found, TaskView):
        told, code = wire.task_response(found, message), 202 if wait.preferred else 200
    else:
        told, code = wire.TaskResponse(task_id=found.task_id, status=found.status, message=message), 202
    return Answer(told, code, headers if code == 200 else {**headers, "Retry-After": POLL_AFTER})


async def status(call: Call) -> Content:
    """How one task stands, with its result or error; with ``wait`` once it has ended, or after so many seconds."""
    wait = prefer.wait(call.request, call.query)
    view = await polls.awaited(call, wait)
    tag = polls.tag_of(view.generation, view.attempt, view.status, view.error, view.started_at, view.finished_at)
    return polls.answered(call, wait, view, tag, wire.task_status)


ROUTES = (
    Route(
        "/api/v1/task/execute",
        execute,
        ("POST",),
        Scope.SUBMIT,
        "Submit a task",
        request=ExecuteRequest,
        response=wire.TaskStatus | wire.TaskResponse,
        statuses=(200, 202),
        refuses=(409,),
        asks=(IDEMPOTENCY_KEY, PREFER, TRACEPARENT),
        tells=(LOCATION, RETRY_AFTER, PREFERENCE_APPLIED, IDEMPOTENT_REPLAYED),
        by_queue=True,
    ),
    Route(
        "/api/v1/task/{task_id}/status",
        status,
        scope=Scope.READ,
        summary="How a task stands",
        query=WaitQuery,
        response=wire.TaskStatus,
        statuses=(200, 202, 304),
        asks=(PREFER, IF_NONE_MATCH),
        tells=(ETAG, PREFERENCE_APPLIED),
        by_queue=True,
    ),
)
