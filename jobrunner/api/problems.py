"""Every refusal as ``application/problem+json`` (RFC 9457), from one table of error classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jobrunner.errors import (
    DatabaseUnavailable,
    GroupNotFound,
    InvalidInput,
    JobrunnerError,
    KeyNotFound,
    KeyReplaced,
    NodeAlive,
    NodeNotFound,
    OperationNotFound,
    Problem,
    QueueNotFound,
    ScheduleNotFound,
    SchemaMismatch,
    StateConflict,
    TaskExists,
    TaskNotFound,
    UnknownTaskType,
)

TABLE: tuple[tuple[type[JobrunnerError], int, str], ...] = (
    (UnknownTaskType, 422, "unknown_task_type"),
    (InvalidInput, 422, "invalid_input"),
    (TaskNotFound, 404, "task_not_found"),
    (ScheduleNotFound, 404, "schedule_not_found"),
    (KeyNotFound, 404, "key_not_found"),
    (QueueNotFound, 404, "queue_not_found"),
    (NodeNotFound, 404, "node_not_found"),
    (OperationNotFound, 404, "operation_not_found"),
    (GroupNotFound, 404, "group_not_found"),
    (KeyReplaced, 409, "key_replaced"),
    (TaskExists, 409, "task_exists"),
    (StateConflict, 409, "state_conflict"),
    (NodeAlive, 409, "node_alive"),
    (DatabaseUnavailable, 503, "database_unavailable"),
    (SchemaMismatch, 503, "schema_mismatch"),
)
"""Which status and code an error answers with; the first class that fits counts."""

BY_STATUS = {404: "no_such_path", 405: "method_not_allowed", 413: "body_too_large"}
RETRY_AFTER = "5"  # seconds, where the database is away


class ProblemPlace(BaseModel):
    """One thing that is wrong: ``pointer`` leads into the body, or is ``?name`` for a query parameter."""

    pointer: str
    detail: str


class ProblemModel(BaseModel):
    """Why a request is refused: ``code`` for programs, ``detail`` for people."""

    model_config = ConfigDict(title="Problem")

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemPlace]
    request_id: str


class Refused(Exception):
    """A request that the door, or its form, does not let in."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        super().__init__(detail)


class Described(NamedTuple):
    """What an error comes to in an answer."""

    status: int
    code: str
    detail: str
    errors: Sequence[Problem] = ()
    headers: Mapping[str, str] = MappingProxyType({})


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer that says what is wrong: ``code`` for programs, ``detail`` for people, ``errors`` with pointers."""
    told = told_of(request, Described(status, code, detail, errors))
    return JSONResponse(told, status, dict(headers or {}), "application/problem+json")


def told_of(request: Request, what: Described) -> dict[str, Any]:
    """The object of RFC 9457: the body of an answer, or a part of one that tells of many things."""
    return {
        "type": f"urn:problem-type:jobrunner:{what.code}",
        "title": HTTPStatus(what.status).phrase,
        "status": what.status,
        "detail": what.detail,
        "code": what.code,
        "errors": [{"pointer": one.pointer, "detail": one.detail} for one in what.errors],
        "request_id": getattr(request.state, "request_id", ""),
    }


def from_error(request: Request, error: Exception) -> Response:
    """The answer to one of our errors; anything that is not in the table is ours to mend, and says nothing."""
    if isinstance(error, HTTPException):
        code = BY_STATUS.get(error.status_code, "http_error")
        return problem(request, error.status_code, code, _plain(request, error), headers=error.headers)
    what = described(error)
    if what is None:
        return unexpected(request)
    return problem(request, what.status, what.code, what.detail, errors=what.errors, headers=what.headers)


def described(error: Exception) -> Described | None:
    """What one of our errors comes to; None for anything else."""
    if isinstance(error, Refused):
        return Described(error.status, error.code, error.detail, headers=error.headers)
    for kind, status, code in TABLE:
        if isinstance(error, kind):
            headers = {"Retry-After": RETRY_AFTER} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
            detail = error.detail if isinstance(error, InvalidInput) else _sentence(error)
            return Described(status, code, detail, error.problems if isinstance(error, InvalidInput) else (), headers)
    return None


UNEXPECTED = Described(500, "internal_error", "something went wrong here; the log has it under this request_id")


def unexpected(request: Request) -> Response:
    """500: what happened stands in the log under the request's id, and nowhere else."""
    return problem(request, UNEXPECTED.status, UNEXPECTED.code, UNEXPECTED.detail)


def _plain(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"this path does not take {request.method}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "there is nothing at this path"
    return error.detail


def _sentence(error: Exception) -> str:
    # What the driver said about a lost database may name hosts and users: that is for the log.
    return "the database does not answer now; try again" if isinstance(error, DatabaseUnavailable) else str(error)
