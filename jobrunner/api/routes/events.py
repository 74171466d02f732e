"""Server-sent events: what changed just now, as present states. A hint to look, never a history."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from jobrunner.api import doors
from jobrunner.api.callers import Way
from jobrunner.api.headers import LAST_EVENT_ID
from jobrunner.api.looks import Looks
from jobrunner.api.polls import tag_of
from jobrunner.api.problems import RETRY_AFTER, Refused
from jobrunner.api.route import Call, Content, Route
from jobrunner.api.schemas import EventsQuery
from jobrunner.api.waits import Waits
from jobrunner.errors import DatabaseUnavailable, TaskNotFound
from jobrunner.queue.key import Scope
from jobrunner.queue.task import ENDED
from jobrunner.queue.views import TaskState

EVERY = 0.5  # seconds between two messages of a stream, at least
ASK_EVERY = 2.0  # seconds between two questions whether a stream's caller would still be let in
AWAY = 5.0  # seconds between two tries while the database is lost
PING = 15  # seconds
SEND_WITHIN = 20.0  # seconds: a client that never reads is cut
STREAMS_MAX = 200
STREAMS_OF_ONE = 100  # of them one key has: the others are for everybody else
RETRY = 2_000  # milliseconds after which a client comes back


async def events(call: Call) -> Content:
    """A stream: first a ``snapshot`` of present states, then ``changed`` with what differs.

    With ``Last-Event-ID`` it goes on with what changed since; where that is not known here any more, ``reset`` comes
    before the snapshot. ``queue`` tells of the tasks of one queue alone.
    """
    wish: EventsQuery = call.query
    queues = call.caller.queues
    if wish.queue is not None:
        queues = frozenset({wish.queue}) if call.caller.sees(wish.queue) else frozenset()
    known = call.request.headers.get("last-event-id") or None
    return _streamed(call, _changes(call, queues, known))


async def task_events(call: Call) -> Content:
    """A stream of one task: ``state`` with its present state, whenever that has changed, until it has ended."""
    looks = _looks(call)
    state = await run_in_threadpool(_first_look, call, looks)
    known = call.request.headers.get("last-event-id", "")
    if state.status in ENDED and known == _id(state):
        return Response(status_code=204)  # tells a browser that it need not come back
    return _streamed(call, _task(call, state, known))


def _looks(call: Call) -> Looks:
    looks: Looks = call.request.app.state.looks
    return looks


def _waits(call: Call) -> Waits:
    waits: Waits = call.request.app.state.waits
    return waits


def _streamed(call: Call, told: AsyncIterator[ServerSentEvent]) -> Content:
    if call.service.stopping():
        raise Refused(503, "draining", "this process drains", {"Retry-After": RETRY_AFTER})
    open_ones, who = _looks(call).streams, call.caller.who
    if open_ones.total() >= STREAMS_MAX:
        raise Refused(503, "too_many_streams", f"at most {STREAMS_MAX} streams", {"Retry-After": RETRY_AFTER})
    if call.caller.way is not Way.ADDRESS and open_ones[who] >= STREAMS_OF_ONE:
        raise Refused(503, "too_many_streams", f"at most {STREAMS_OF_ONE} of {who}", {"Retry-After": RETRY_AFTER})
    return EventSourceResponse(told, ping=PING, send_timeout=SEND_WITHIN)


class _Stay:
    """Whether a stream may go on: its process does not drain, and its caller would still be let in."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._ask_at = time.monotonic() + ASK_EVERY

    async def is_granted(self) -> bool:
        service = self._call.service
        if not service.stopping() and time.monotonic() >= self._ask_at:
            if not await doors.still_admits(self._call.request, service.settings, self._call.caller):
                return False
            self._ask_at = time.monotonic() + ASK_EVERY
        return not service.stopping()


async def _changes(call: Call, queues: frozenset[str] | None, known: str | None) -> AsyncIterator[ServerSentEvent]:
    looks, stay = _looks(call), _Stay(call)
    moments = looks.moments(queues)
    with looks.streaming(call.caller.who):
        while await stay.is_granted():
            try:
                now = await run_in_threadpool(moments.get)
            except DatabaseUnavailable:
                await asyncio.sleep(AWAY)
                continue
            told = None if known is None else now.since(known)
            if told is None:
                if known is not None:
                    yield ServerSentEvent("{}", event="reset")
                yield ServerSentEvent(json.dumps(now.states.present()), event="snapshot", id=now.id, retry=RETRY)
            elif told:
                yield ServerSentEvent(json.dumps(told), event="changed", id=now.id)
            known = now.id
            await asyncio.sleep(EVERY)


def _first_look(call: Call, looks: Looks) -> TaskState:
    state = looks.followed.look(call.task_id)
    if state is None:
        raise TaskNotFound(call.task_id)
    call.must_see(state.queue, state.task_id)
    return state


async def _task(call: Call, first: TaskState, known: str) -> AsyncIterator[ServerSentEvent]:
    looks, stay, waits, task_id = _looks(call), _Stay(call), _waits(call), first.task_id
    state: TaskState | None = first
    with looks.streaming(call.caller.who), looks.followed.follow(task_id), waits.ended(task_id) as ended:
        # The id may come to stand for a task of another queue, once this one is deleted.
        while state is not None and call.caller.sees(state.queue) and await stay.is_granted():
            if _id(state) != known:
                known = _id(state)
                yield ServerSentEvent(json.dumps(asdict(state)), event="state", id=known, retry=RETRY)
            if state.status in ENDED:
                return
            heard = ended.done()
            await (asyncio.sleep(EVERY) if heard else asyncio.wait([ended], timeout=EVERY))
            look = looks.followed.look if ended.done() and not heard else looks.followed.state
            try:
                state = await run_in_threadpool(look, task_id)
            except DatabaseUnavailable:
                await asyncio.sleep(AWAY)


def _id(state: TaskState) -> str:
    return tag_of(state)[3:-1]


STREAM = "text/event-stream"
ROUTES = (
    Route(
        "/api/v1/events",
        events,
        scope=Scope.READ,
        summary="What changes, as it changes",
        query=EventsQuery,
        asks=(LAST_EVENT_ID,),
        media=STREAM,
        by_queue=True,
    ),
    Route(
        "/api/v1/tasks/{task_id}/events",
        task_events,
        scope=Scope.READ,
        summary="How it stands, as it changes",
        statuses=(200, 204),
        asks=(LAST_EVENT_ID,),
        media=STREAM,
        by_queue=True,
    ),
)
