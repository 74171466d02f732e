"""Tasks: listing, looking closer, cancelling, running again."""

from __future__ import annotations

from dataclasses import replace

from jobrunner.api import answers, answers_tasks, polls, prefer
from jobrunner.api.headers import ETAG, IF_NONE_MATCH, LINK, PREFER, PREFERENCE_APPLIED
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.schemas import CancelRequest, LogsQuery, TasksQuery, WaitQuery
from jobrunner.queue import store, views
from jobrunner.queue.key import Scope
from jobrunner.queue.task import Status
from jobrunner.queue.views import shapes


def listed(call: Call) -> Content:
    """One page of tasks, newest first, without payload and result.

    A page may be short, or empty, before the last: where few tasks fit, each looks at a part of them. Go on as long as
    there is a ``next_cursor``.
    """
    wish: TasksQuery = call.query
    with call.service.database.read() as conn:
        page = views.tasks_page(conn, wish.filter(call.caller.queues), before=wish.cursor, limit=wish.limit)
    told = shapes.tasks_dict(page)
    cursor = told["next_cursor"]
    if cursor is None:
        return told
    following = call.request.url.include_query_params(cursor=cursor)
    return Answer(told, headers={"Link": f'<{following.path}?{following.query}>; rel="next"'})


async def one(call: Call) -> Content:
    """One task, whole; with ``wait`` once it has ended, or after so many seconds."""
    wait = prefer.wait(call.request, call.query)
    view = await polls.awaited(call, wait)
    known = replace(view, payload=None, result=None)  # neither changes without the rest
    return polls.answered(call, wait, view, polls.tag_of(known), shapes.task_dict)


def attempts(call: Call) -> Content:
    """The attempts that ended badly or were released."""
    with call.service.database.read() as conn:
        call.must_see(views.queue_of(conn, call.task_id), call.task_id)
        return shapes.attempts_dict(views.task_attempts(conn, call.task_id))


def logs(call: Call) -> Content:
    """Log lines after an offset."""
    wish: LogsQuery = call.query
    with call.service.database.read() as conn:
        call.must_see(views.queue_of(conn, call.task_id), call.task_id)
        found = views.task_logs_page(conn, call.task_id, after=wish.after, limit=wish.limit)
    return shapes.logs_dict(found, wish.after)


def cancel(call: Call) -> Content:
    """Cancel: at once while it waits (200), on request while it runs (202)."""
    with call.change(call.task_id, reason=call.body.reason) as change:
        call.must_see(views.queue_of(change.conn, call.task_id), call.task_id)
        now = store.cancel(change.conn, call.task_id, call.body.reason)
    if now is Status.RUNNING:
        call.service.cancel_hint()
    else:
        call.service.ends.ended([call.task_id])
    return Answer({"task_id": call.task_id, "status": now}, 202 if now is Status.RUNNING else 200)


def retry(call: Call) -> Content:
    """Run a failed or cancelled task again, with fresh budgets."""
    with call.change(call.task_id) as change:
        call.must_see(views.queue_of(change.conn, call.task_id), call.task_id)
        store.retry(change.conn, call.task_id)
    call.service.wake()
    return Answer({"task_id": call.task_id, "status": Status.PENDING}, 202)


_ONE = "/api/v1/tasks/{task_id}"
ROUTES = (
    Route(
        "/api/v1/tasks",
        listed,
        scope=Scope.READ,
        summary="List tasks",
        query=TasksQuery,
        response=answers_tasks.Tasks,
        tells=(LINK,),
        by_queue=True,
    ),
    Route(
        _ONE,
        one,
        scope=Scope.READ,
        summary="One task",
        query=WaitQuery,
        response=answers_tasks.WholeTask,
        statuses=(200, 202, 304),
        asks=(PREFER, IF_NONE_MATCH),
        tells=(ETAG, PREFERENCE_APPLIED),
        by_queue=True,
    ),
    Route(
        f"{_ONE}/attempts",
        attempts,
        scope=Scope.READ,
        summary="Its attempts",
        response=answers_tasks.Attempts,
        by_queue=True,
    ),
    Route(
        f"{_ONE}/logs",
        logs,
        scope=Scope.READ,
        summary="Its log lines",
        query=LogsQuery,
        response=answers_tasks.Logs,
        by_queue=True,
    ),
    Route(
        f"{_ONE}/cancel",
        cancel,
        ("POST",),
        Scope.OPERATE,
        "Cancel it",
        request=CancelRequest,
        response=answers.Accepted,
        statuses=(200, 202),
        refuses=(409,),
        by_queue=True,
    ),
    Route(
        f"{_ONE}/retry",
        retry,
        ("POST",),
        Scope.OPERATE,
        "Run it again",
        response=answers.Accepted,
        statuses=(202,),
        refuses=(409,),
        by_queue=True,
    ),
)
