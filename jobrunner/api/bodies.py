"""Reading what a request brings: counted while it streams, strict JSON, then a model; every problem has its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from jobrunner.api.hosts import is_json
from jobrunner.api.problems import Refused
from jobrunner.api.schemas import BATCH_MOST, BatchRequest, ExecuteRequest
from jobrunner.errors import PROBLEMS_MOST, InvalidInput, Problem
from jobrunner.queue import codec
from jobrunner.text import has_controls

BODY_SECONDS = 20.0  # for a body to arrive

Model = TypeVar("Model", bound=BaseModel)


async def read(request: Request, limit: int = codec.BODY_MAX_BYTES) -> bytes:
    """The body, at most ``limit`` bytes; raises Refused with 413 or 408 before more is kept."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "encoding_unknown", "send the body as it is, without a Content-Encoding")
    told = request.headers.get("content-length", "")
    size = int(told) if told.isascii() and told.isdigit() else 0
    parts = []
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if size <= limit:
                size = 0
                async for part in request.stream():
                    size += len(part)
                    if size > limit:
                        break
                    parts.append(part)
    except TimeoutError:
        raise Refused(408, "body_too_slow", f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
    if size > limit:
        raise Refused(413, "body_too_large", f"the body may have {limit} bytes", {"Connection": "close"})
    return b"".join(parts)


async def read_model(request: Request, model: type[Model]) -> Model:
    """The JSON body as ``model``; an empty one will do where nothing in it is required."""
    raw = await read(request)
    if not raw and not any(field.is_required() for field in model.model_fields.values()):
        return model()
    if not is_json(request):
        raise Refused(415, "json_needed", "send JSON, with Content-Type: application/json")
    return checked(model, codec.parse(raw, max_depth=codec.BODY_MAX_DEPTH))


async def read_batch(request: Request) -> list[ExecuteRequest | InvalidInput]:
    """The tasks of a batch, each by itself: where one is refused, why. Raises InvalidInput where it is no batch."""
    raw = await read(request, codec.BATCH_MAX_BYTES)
    if not is_json(request):
        raise Refused(415, "json_needed", "send JSON, with Content-Type: application/json")
    return await run_in_threadpool(_batch, raw)


def _batch(raw: bytes) -> list[ExecuteRequest | InvalidInput]:
    told = codec.opened(raw, max_bytes=codec.BATCH_MAX_BYTES, max_depth=codec.BATCH_MAX_DEPTH)
    listed = told.get("tasks") if isinstance(told, dict) else None
    items = listed if isinstance(listed, list) else []
    if items:
        told["tasks"] = []  # what is around them first
    codec.look_into(told)
    checked(BatchRequest, told)
    if len(items) > BATCH_MOST:
        problem = Problem("/tasks", f"may hold {BATCH_MOST} tasks, not {len(items)}")
        raise InvalidInput("the request is refused", [problem])
    return [_item(item) for item in items]


def _item(item: Any) -> ExecuteRequest | InvalidInput:
    try:
        codec.look_into(item, max_depth=codec.BODY_MAX_DEPTH)
        return checked(ExecuteRequest, item)
    except InvalidInput as error:
        return error


def checked(model: type[Model], data: Any, *, strict: bool = True, prefix: str = "/") -> Model:
    """``data`` as ``model``; raises InvalidInput with a pointer to every problem."""
    known = list(model.model_fields)
    unknown = [name for name in data if name not in known] if isinstance(data, dict) else []
    spared = unknown[PROBLEMS_MOST:]
    if spared:  # each problem takes pydantic 6 us, and a guess at what was meant 30
        told = {*known, *unknown[:PROBLEMS_MOST]}
        data = {name: value for name, value in data.items() if name in told}
    try:
        return model.model_validate(data, strict=strict)
    except ValidationError as error:
        problems = [_problem(one, known, prefix) for one in error.errors(include_url=False)]
        problems += [Problem(f"{prefix}{name}", "unknown field") for name in spared]
        raise InvalidInput("the request is refused", problems) from None


def query(request: Request, model: type[Model]) -> Model:
    """The query string as ``model``; parameters of list type may be repeated or comma-separated."""
    told: dict[str, Any] = {}
    problems = []
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise InvalidInput("the request is refused", [Problem("?", "must be UTF-8")]) from None
    for name in request.query_params:
        values = request.query_params.getlist(name)
        field = model.model_fields.get(name)
        if field is None and model.model_config.get("extra") != "forbid":
            continue
        if any(has_controls(value) for value in values):
            problems.append(Problem(f"?{name}", "must hold no control characters"))
        elif field is not None and isinstance(field.default, tuple):
            told[name] = tuple(part for value in values for part in value.split(",") if part)
        elif len(values) > 1:
            problems.append(Problem(f"?{name}", "is given more than once"))
        else:
            told[name] = values[0]
    if problems:
        raise InvalidInput("the request is refused", problems)
    return checked(model, told, strict=False, prefix="?")


def _problem(error: Any, known: list[str], prefix: str) -> Problem:
    pointer = _pointer(error["loc"], prefix)
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), known, 1)
        return Problem(pointer, f"unknown field; did you mean '{near[0]}'?" if near else "unknown field")
    if error["type"] in ("model_type", "dict_type"):
        return Problem(pointer, "must be an object")
    return Problem(pointer, error["msg"].removeprefix("Value error, "))


def _pointer(steps: Sequence[str | int], prefix: str) -> str:
    spelled = "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return f"{prefix}{spelled}" if steps else ""
