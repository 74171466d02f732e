"""How one task stands, for who asks again and again: after a wait, and only where it differs from what is known."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from jobrunner.api.prefer import Wait
from jobrunner.api.route import Answer, Call, Content
from jobrunner.api.waits import Waits
from jobrunner.queue import views
from jobrunner.queue.task import ENDED
from jobrunner.queue.views import TaskView

_TAG = re.compile(r'(?:W/)?"[^"]*"')


async def awaited(call: Call, wait: Wait) -> TaskView:
    """The path's task, once it has ended or the wait is over; raises TaskNotFound where it is not the caller's."""
    if call.caller.queues is not None:  # before any wait: what is not there for this caller does not keep it waiting
        await run_in_threadpool(_look_for, call)
    waits: Waits = call.request.app.state.waits
    view = await waits.task(call.request, call.task_id, wait.seconds)
    call.must_see(view.queue, view.task_id)  # again: meanwhile the id may have come to stand for another task
    return view


def _look_for(call: Call) -> None:
    with call.service.database.read() as conn:
        call.must_see(views.queue_of(conn, call.task_id), call.task_id)


def answered(
    call: Call, wait: Wait, view: TaskView, tag: str, told: Callable[[TaskView], BaseModel | Mapping[str, Any]]
) -> Content:
    """``told`` of this task; 304 where the client knows this ``tag``, 202 where it preferred to wait and it is open."""
    headers = {**wait.headers, "ETag": tag}
    if is_known(call.request, tag):
        return Response(status_code=304, headers=headers)
    return Answer(told(view), 202 if wait.preferred and view.status not in ENDED else 200, headers)


def tag_of(*parts: object) -> str:
    """A weak tag of what an answer is made of."""
    return f'W/"{hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether ``If-None-Match`` names this tag; weak and strong ones are compared alike."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag.removeprefix("W/") in (one.removeprefix("W/") for one in _TAG.findall(given))
