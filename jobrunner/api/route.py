"""One call of the API: its path, what it needs, and who may make it. The table of all stands in ``routes``."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette import routing
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jobrunner.api import bodies, doors
from jobrunner.api.callers import Caller
from jobrunner.api.headers import Header
from jobrunner.api.service import Service
from jobrunner.errors import JobrunnerError, ScheduleNotFound, TaskNotFound
from jobrunner.queue import store
from jobrunner.queue.key import Scope
from jobrunner.queue.store import Change
from jobrunner.text import NAME_MAX, has_controls


class Nothing(BaseModel):
    """The body of calls that take none: absent, or ``{}``."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Call:
    """What an endpoint works with. ``body`` and ``query`` are instances of the route's ``request`` and ``query``."""

    request: Request
    service: Service
    caller: Caller
    route: Route
    body: Any = None
    query: Any = None

    @property
    def task_id(self) -> str:
        """The path's task_id; raises TaskNotFound where no task can have it."""
        return self.name("task_id", TaskNotFound)

    @property
    def schedule(self) -> str:
        """The path's schedule name; raises ScheduleNotFound where none can have it."""
        return self.name("name", ScheduleNotFound)

    def name(self, parameter: str, absent: type[JobrunnerError]) -> str:
        """A name in the path; raises ``absent`` where nothing can have it."""
        told: str = self.request.path_params[parameter]
        if has_controls(told) or len(told) > NAME_MAX:
            raise absent(told)
        return told

    def must_see(self, queue: str, task_id: str) -> None:
        """Raise TaskNotFound where this task's queue is not the caller's: as if there were no such task."""
        if not self.caller.sees(queue):
            raise TaskNotFound(task_id)

    @contextmanager
    def change(self, target: str | None = None, **details: Any) -> Iterator[Change]:
        """A transaction for what this call changes: that it did, and who asked, stands in the audit with it."""
        with self.service.database.begin() as conn:
            change = Change(conn, target, details)
            yield change
            told = {**change.details, "request_id": self.request.state.request_id}
            store.record(conn, self.caller.who, f"{self.request.method} {self.route.path}", change.target, told)


@dataclass(frozen=True)
class Answer:
    """A JSON answer that is not a plain 200."""

    content: Mapping[str, Any] | BaseModel
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Content = Response | Answer | BaseModel | Mapping[str, Any]
Endpoint = Callable[[Call], Content | Awaitable[Content]]


@dataclass(frozen=True)
class Route:
    """One row of the table. Plain endpoints run in Starlette's threads, ``async`` ones in its loop.

    The OpenAPI document is made of these rows: ``response`` is what the ``statuses`` answer with, of type ``media``;
    ``refuses`` are the error statuses that this call has beyond those of its kind; ``asks`` are the headers that it
    reads, ``tells`` those that its good answers may have.
    """

    path: str
    endpoint: Endpoint
    methods: Sequence[str] = ("GET",)
    scope: Scope | None = None
    summary: str = ""
    request: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    response: Any = None
    statuses: Sequence[int] = (200,)
    media: str = "application/json"
    refuses: Sequence[int] = ()
    asks: Sequence[Header] = ()
    tells: Sequence[Header] = ()
    reads_body: bool = False  # the endpoint reads the body itself: it is no JSON, or larger than others
    by_queue: bool = False  # shows and changes nothing of queues that are not the caller's; else those are kept out

    async def answer(self, request: Request, service: Service) -> Response:
        """Ask the door, read the body, run the endpoint."""
        assert self.scope is not None, "checked when the app was made"
        caller = await doors.admit(request, service.settings, self.scope, every_queue=not self.by_queue)
        body = None
        if request.method not in ("GET", "HEAD") and not self.reads_body:
            body = await bodies.read_model(request, self.request or Nothing)
        query = bodies.query(request, self.query) if self.query is not None else None
        call = Call(request, service, caller, self, body, query)
        if inspect.iscoroutinefunction(self.endpoint):
            return _response(await self.endpoint(call))
        told: Any = await run_in_threadpool(self.endpoint, call)
        return _response(told)


def _response(told: Content) -> Response:
    if isinstance(told, Response):
        return told
    answer = told if isinstance(told, Answer) else Answer(told)
    headers = dict(answer.headers)
    if isinstance(answer.content, BaseModel):
        return Response(answer.content.model_dump_json(), answer.status, headers, "application/json")
    return JSONResponse(answer.content, answer.status, headers)


def mounted(table: Sequence[Any], service: Service) -> list[routing.BaseRoute]:
    """The table as Starlette's routes, one per path; raises TypeError for a row without a declared scope."""
    paths: dict[str, dict[str, Route]] = {}
    for row in table:
        if not isinstance(row, Route) or not isinstance(row.scope, Scope):
            raise TypeError(f"{row!r} declares no scope, so nobody would guard it")
        for method in row.methods:
            if method in paths.setdefault(row.path, {}):
                raise TypeError(f"{method} {row.path} stands in the table twice")
            paths[row.path][method] = row
    return [_mount(path, rows, service) for path, rows in paths.items()]


def _mount(path: str, rows: dict[str, Route], service: Service) -> routing.BaseRoute:
    async def endpoint(request: Request) -> Response:
        row = rows.get(request.method) or rows["GET"]  # HEAD is a GET
        return await row.answer(request, service)

    return routing.Route(path, endpoint, methods=list(rows))
