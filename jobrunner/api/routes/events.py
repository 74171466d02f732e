"""Server-sent events: what changed just now, as present states. A hint to look, never a history."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from jobrunner.api import changes
from jobrunner.api.looks import Looks
from jobrunner.api.problems import RETRY_AFTER, Refused
from jobrunner.api.route import Call, Content, Route
from jobrunner.api.service import Service
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue.key import Scope

EVERY = 0.5  # seconds between two messages of a stream, at least
AWAY = 5.0  # seconds between two tries while the database is lost
PING = 15  # seconds
SEND_WITHIN = 20.0  # seconds: a client that never reads is cut
STREAMS_MAX = 200


async def events(call: Call) -> Content:
    """A stream: first a ``snapshot`` of present states, then ``changed`` with what differs."""
    service = call.service
    if service.stopping():
        raise Refused(503, "draining", "this process drains", {"Retry-After": RETRY_AFTER})
    looks: Looks = call.request.app.state.looks
    if looks.streams >= STREAMS_MAX:
        raise Refused(503, "too_many_streams", f"at most {STREAMS_MAX} streams", {"Retry-After": RETRY_AFTER})
    return EventSourceResponse(_stream(service, looks), ping=PING, send_timeout=SEND_WITHIN)


async def _stream(service: Service, looks: Looks) -> AsyncIterator[ServerSentEvent]:
    looks.streams += 1
    name, number, seen = secrets.token_hex(4), 0, changes.NOTHING
    try:
        while not service.stopping():
            try:
                now = await run_in_threadpool(looks.states.get)
            except DatabaseUnavailable:
                await asyncio.sleep(AWAY)
                continue
            told = now.since(seen)
            if told or not number:
                event = "changed" if number else "snapshot"
                number += 1
                yield ServerSentEvent(json.dumps(told), event=event, id=f"{name}-{number}", retry=2_000)
            seen = now
            await asyncio.sleep(EVERY)
    finally:
        looks.streams -= 1


ROUTES = (Route("/api/v1/events", events, scope=Scope.READ, summary="What changes, as it changes"),)
