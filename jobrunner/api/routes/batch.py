"""Many tasks in one request, each with an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request as HttpRequest

from jobrunner.api import bodies, prefer
from jobrunner.api.answers_tasks import BatchAnswer, BatchRefused, BatchTaken
from jobrunner.api.callers import Caller
from jobrunner.api.headers import TRACEPARENT
from jobrunner.api.intake import Found, Intake
from jobrunner.api.problems import UNEXPECTED, ProblemModel, described, told_of
from jobrunner.api.route import Call, Content, Route
from jobrunner.api.routes.execute import request_of
from jobrunner.api.schemas import BatchRequest, ExecuteRequest
from jobrunner.errors import DatabaseUnavailable
from jobrunner.logs import get_logger
from jobrunner.queue.key import Scope
from jobrunner.queue.store import Submitted
from jobrunner.settings.failpoints import hit
from jobrunner.submission import Request

log = get_logger(__name__)


async def batch(call: Call) -> Content:
    """Queue up to 1,000 tasks. Each is taken or refused by itself: what is told as taken is committed.

    They are no transaction: where the database breaks off in between, some results tell 503.
    """
    prefer.no_idempotency_key(call.request)
    wishes = await bodies.read_batch(call.request)
    told: dict[int, Found | Exception] = {n: one for n, one in enumerate(wishes) if not isinstance(one, ExecuteRequest)}
    asked = {n: request_of(call, one) for n, one in enumerate(wishes) if isinstance(one, ExecuteRequest)}
    intake: Intake = call.request.app.state.intake
    told |= await _submitted(intake, asked, call.caller)
    hit("submit-after-commit")
    if any(isinstance(one, Submitted) for one in told.values()):
        call.service.wake()
    lost = [one for one in told.values() if isinstance(one, DatabaseUnavailable)]
    if lost and len(lost) == len(wishes):
        raise lost[0]
    results = [_result(call.request, n, told[n]) for n in range(len(wishes))]
    accepted = sum(isinstance(one, BatchTaken) for one in results)
    return BatchAnswer(results=results, accepted=accepted, refused=len(results) - accepted)


async def _submitted(intake: Intake, asked: Mapping[int, Request], caller: Caller) -> dict[int, Found | Exception]:
    """Submit them together; one that has a key of an earlier one comes after it, so that the first in order wins."""
    told: dict[int, Found | Exception] = {}
    waiting = dict(asked)
    while waiting:
        met: set[tuple[str, str]] = set()
        now = []
        for n, request in waiting.items():
            keys = _keys(request)
            if not keys & met:
                now.append(n)
            met |= keys
        coming = [intake.submit(waiting.pop(n), caller) for n in now]
        for n, found in zip(now, await asyncio.gather(*coming, return_exceptions=True), strict=True):
            if isinstance(found, BaseException) and not isinstance(found, Exception):
                raise found
            told[n] = found
    return told


def _keys(request: Request) -> set[tuple[str, str]]:
    given = ((name, request.options.get(name)) for name in ("task_id", "unique_key"))
    return {(name, key) for name, key in given if key is not None}


def _result(request: HttpRequest, index: int, found: Found | Exception) -> BatchTaken | BatchRefused:
    if not isinstance(found, Exception):
        status = 202 if isinstance(found, Submitted) and found.created else 200
        return BatchTaken(index=index, status=status, task_id=found.task_id, task_status=found.status)
    what = described(found)
    if what is None:
        log.error("a task of a batch failed", request_id=request.state.request_id, index=index, exc_info=found)
        what = UNEXPECTED
    problem = ProblemModel.model_validate(told_of(request, what))
    return BatchRefused(index=index, status=what.status, problem=problem)


ROUTES = (
    Route(
        "/api/v1/tasks/batch",
        batch,
        ("POST",),
        Scope.SUBMIT,
        "Submit many tasks",
        request=BatchRequest,
        response=BatchAnswer,
        asks=(TRACEPARENT,),
        reads_body=True,
        by_queue=True,
    ),
)
