"""What a task came to, and running it anew as another task."""

from __future__ import annotations

from http import HTTPStatus

from starlette.concurrency import run_in_threadpool

from jobrunner.api import polls, prefer
from jobrunner.api.answers import Accepted
from jobrunner.api.answers_tasks import OpenTask, TaskResult
from jobrunner.api.headers import (
    IDEMPOTENCY_KEY,
    IDEMPOTENT_REPLAYED,
    LOCATION,
    PREFER,
    PREFERENCE_APPLIED,
    RETRY_AFTER,
    TRACEPARENT,
)
from jobrunner.api.intake import Intake
from jobrunner.api.problems import Refused
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.routes.execute import POLL_AFTER, origin_of, status_path
from jobrunner.api.schemas import RerunRequest, WaitQuery
from jobrunner.queue import views
from jobrunner.queue.key import Scope
from jobrunner.queue.request import ALIKE
from jobrunner.queue.store import Submitted
from jobrunner.queue.task import ENDED
from jobrunner.queue.views import TaskView, shapes
from jobrunner.submission import Request


async def result(call: Call) -> Content:
    """What a task came to. 409 while it is open; with a wait, 202 where that was not long enough."""
    wait = prefer.wait(call.request, call.query)
    view = await polls.awaited(call, wait)
    if view.status in ENDED:
        return Answer(
            {
                "task_id": view.task_id,
                "status": view.status,
                "result": shapes.wrapped(view.result),
                "error": view.error,
            },
            headers=wait.headers,
        )
    if not wait.preferred and not wait.seconds:
        raise Refused(HTTPStatus.CONFLICT, "not_finished", f"task {view.task_id!r} is {view.status}")
    headers = {**wait.headers, "Retry-After": POLL_AFTER}
    return Answer({"task_id": view.task_id, "status": view.status}, 202, headers)


async def rerun(call: Call) -> Content:
    """A new task like this one, with what the body says otherwise; the old one stays as it is.

    It runs now, whenever the old one was to run, and without its ``unique_key`` and ``expires_at``.
    """
    wish: RerunRequest = call.body
    like = await run_in_threadpool(_look_for, call)
    task_id = prefer.idempotency_key(call.request, wish.task_id)
    options = {name: getattr(like, name) for name in ALIKE} | origin_of(call) | {"task_id": task_id}
    options |= {name: told for name in ("queue", "priority") if (told := getattr(wish, name)) is not None}
    data = like.payload if wish.task_data is None else wish.task_data
    intake: Intake = call.request.app.state.intake
    found = await intake.submit(Request(like.task_type, data, options), call.caller)
    headers = {"Location": status_path(call, found.task_id)}
    told = {"task_id": found.task_id, "status": found.status}
    if not isinstance(found, Submitted):
        return Answer(told, 200, {**headers, "Idempotent-Replayed": "true"})
    call.service.wake()
    return Answer(told, 202, {**headers, "Retry-After": POLL_AFTER})


def _look_for(call: Call) -> TaskView:
    with call.service.database.read() as conn:
        view = views.task(conn, call.task_id)
    call.must_see(view.queue, view.task_id)
    return view


_ONE = "/api/v1/tasks/{task_id}"
ROUTES = (
    Route(
        f"{_ONE}/result",
        result,
        scope=Scope.READ,
        summary="What it came to",
        query=WaitQuery,
        response=TaskResult | OpenTask,
        statuses=(200, 202),
        refuses=(409,),
        asks=(PREFER,),
        tells=(PREFERENCE_APPLIED, RETRY_AFTER),
        by_queue=True,
    ),
    Route(
        f"{_ONE}/rerun",
        rerun,
        ("POST",),
        Scope.SUBMIT,
        "Run one like it",
        request=RerunRequest,
        response=Accepted,
        statuses=(200, 202),
        refuses=(409,),
        asks=(IDEMPOTENCY_KEY, TRACEPARENT),
        tells=(LOCATION, RETRY_AFTER, IDEMPOTENT_REPLAYED),
        by_queue=True,
    ),
)
