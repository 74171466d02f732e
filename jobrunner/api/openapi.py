"""The OpenAPI 3.1 document, made of the table of routes and the models in it, and of nothing else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from jobrunner.api.headers import AUTHENTICATE, RETRY_AFTER
from jobrunner.api.problems import ProblemModel
from jobrunner.api.route import Route
from jobrunner.api.spelled import JSON_VALUE, PART
from jobrunner.queue.key import Scope

LINKS = {
    "/api/v1/task/execute": ("/api/v1/task", "task_id", "task_id"),
    "/api/v1/schedules": ("/api/v1/schedules", "name", "name"),
    "/api/v1/keys": ("/api/v1/keys", "key_id", "id"),
}
"""Where something is made with POST: where the calls begin that take it, as which parameter, from which field."""

NAMED = {
    "task_id": "The task's id.",
    "name": "Its name.",
    "node_id": "The node's id.",
    "key_id": "The key's id: its first part, not its text.",
    "operation_id": "The operation's id.",
    "fingerprint": "What failures of one kind share.",
}
"""What stands for each parameter of a path."""

_GUIDES = {401: AUTHENTICATE, 429: RETRY_AFTER, 503: RETRY_AFTER}

JSON, PROBLEM = "application/json", "application/problem+json"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}

Schemas = dict[tuple[Any, JsonSchemaMode], dict[str, Any]]


def document(table: Sequence[Route], root: str = "") -> dict[str, Any]:
    """The document of these routes. Pages and static files, which are for people, are not in it.

    ``root`` is the path under which they stand.
    """
    told = [row for row in table if row.path.startswith("/api/") or row.path in ("/healthz", "/readyz", "/metrics")]
    schemas, components = _schemas(told)
    paths: dict[str, dict[str, Any]] = {}
    for row in told:
        for method in row.methods:
            path = _PARAMETER.sub(r"{\1}", row.path)
            paths.setdefault(path, {})[method.lower()] = _operation(row, method, schemas)
    for maker in LINKS.keys() & paths.keys():
        _link(paths, maker)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jobrunner",
            "version": version("jobrunner"),
            "summary": "A serverless-style job runner on a SQL queue.",
            "description": "Times are RFC 3339 in UTC, but for the calls under /api/v1/task, /health, /statistics and "
            "/node, whose times carry no offset. Durations are in seconds. Errors are problems of RFC 9457. "
            "Each answer has an X-Request-ID, by which the server's log and its audit know the request.",
        },
        **({"servers": [{"url": root}]} if root else {}),
        "security": [{name: []} for name in _SCHEMES],
        "paths": paths,
        "components": {"schemas": {**components, "JsonValue": JSON_VALUE}, "securitySchemes": _SCHEMES},
    }


def _link(paths: dict[str, dict[str, Any]], maker: str) -> None:
    """Say of which calls the answers of ``maker`` give the parameter."""
    root, parameter, field = LINKS[maker]
    links = {
        call["operationId"]: {
            "operationId": call["operationId"],
            "parameters": {parameter: f"$response.body#/{field}"},
        }
        for path, calls in paths.items()
        for call in calls.values()
        if path.startswith(root) and f"{{{parameter}}}" in path
    }
    for status, answer in paths[maker]["post"]["responses"].items():
        if status.startswith("2"):
            answer["links"] = links


def _schemas(table: Sequence[Route]) -> tuple[Schemas, dict[str, Any]]:
    """What stands for each model, and the definitions that these refer to."""
    inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = [
        (ProblemModel, "serialization", TypeAdapter(ProblemModel))
    ]
    for row in table:
        for model in (row.request, row.query):
            if model is not None:
                inputs.append((model, "validation", TypeAdapter(model)))
        if row.response is not None:
            inputs.append((row.response, "serialization", TypeAdapter(row.response)))
    unique = {(model, mode): (model, mode, adapter) for model, mode, adapter in inputs}
    schemas, rest = TypeAdapter.json_schemas(unique.values(), ref_template="#/components/schemas/{model}")
    return dict(schemas), dict(rest.get("$defs", {}))


def _operation(row: Route, method: str, schemas: Schemas) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _name(row, method),
        "summary": row.summary,
        "description": inspect.getdoc(row.endpoint) or "",
        "tags": [_tag(row.path)],
        "responses": dict(_responses(row, method, schemas)),
    }
    asked = [header.asked() for header in row.asks]
    parameters = [*_path_parameters(row.path), *_query_parameters(row), *asked]
    if parameters:
        told["parameters"] = parameters
    if method not in ("GET", "HEAD") and row.request is not None:
        told["requestBody"] = {
            "required": any(field.is_required() for field in row.request.model_fields.values()),
            "content": {JSON: {"schema": schemas[row.request, "validation"]}},
        }
    if row.scope is Scope.OPEN:
        told["security"] = []
    else:
        told["x-scope"] = str(row.scope)
    return told


def _responses(row: Route, method: str, schemas: Schemas) -> Iterator[tuple[str, dict[str, Any]]]:
    for status in row.statuses:
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if status not in (204, 304):
            schema = {} if row.response is None else schemas[row.response, "serialization"]
            answer["content"] = {row.media: {"schema": schema}}
        if row.tells:
            answer["headers"] = {header.name: header.told() for header in row.tells}
        yield str(status), answer
    problem = {"schema": schemas[ProblemModel, "serialization"]}
    for status in sorted({*_refusals(row, method), *row.refuses}):
        answer = {"description": HTTPStatus(status).phrase, "content": {PROBLEM: problem}}
        if status in _GUIDES:
            answer["headers"] = {_GUIDES[status].name: _GUIDES[status].told()}
        yield str(status), answer


def _refusals(row: Route, method: str) -> set[int]:
    """The error statuses that a call of this kind can have."""
    found = {500}
    if row.scope is not Scope.OPEN:
        found |= {401, 403, 421, 429, 503}
    if _PARAMETER.search(row.path):
        found |= {404}
    if row.query is not None:
        found |= {422}
    if method not in ("GET", "HEAD"):
        found |= {408, 413, 415, 422}
    return found


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(path):
        yield {"name": name, "in": "path", "required": True, "description": NAMED[name], "schema": PART}


def _query_parameters(row: Route) -> Iterator[dict[str, Any]]:
    if row.query is None:
        return
    properties = row.query.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    for name, schema in properties.items():
        meaning = {"description": schema.pop("description")}
        told: dict[str, Any] = {"name": name, "in": "query", "required": False, **meaning, "schema": schema}
        if schema.get("type") == "array":
            told |= {"style": "form", "explode": True}
        yield told


def _tag(path: str) -> str:
    parts = path.removeprefix("/api/v1/").strip("/").split("/")
    return {"task": "the guide", "node": "the guide", "health": "the guide", "statistics": "the guide"}.get(
        parts[0], parts[0]
    )


def _name(row: Route, method: str) -> str:
    words = re.findall(r"\w+", row.path.removeprefix("/api/v1"))
    return "_".join((method.lower(), *words))
