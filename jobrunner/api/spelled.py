"""The queue's rules in the words of JSON Schema: the checks stand in the queue, these tell callers of them.

What they say is exactly what is accepted, which a fuzzer holds against the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from jobrunner.background.schedules import SHORTEST
from jobrunner.queue.request import MAX_ATTEMPTS_MAX, SECONDS_MAX, TAGS_MAX
from jobrunner.queue.task import PRIORITIES
from jobrunner.text import NAME_MAX

_UNFIT = "\\x00-\\x1f\\x7f-\\x9f"
NAME = {"type": "string", "minLength": 1, "maxLength": NAME_MAX, "pattern": f"^[^{_UNFIT}]+$"}
PART = {**NAME, "pattern": f"^(?!\\.{{1,2}}$)[^/{_UNFIT}]+$"}
_VALUE = "#/components/schemas/JsonValue"
JSON_VALUE: dict[str, Any] = {
    "description": "Any JSON without NUL, at most 32 deep, whose integers fit 64 bit.",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": "number"},
        {"type": "string", "pattern": "^[^\\x00]*$"},
        {"type": "array", "items": {"$ref": _VALUE}},
        {"type": "object", "propertyNames": {"pattern": "^[^\\x00]*$"}, "additionalProperties": {"$ref": _VALUE}},
    ],
}
"""The component that TASK_DATA refers to."""

_DATA = {
    "type": "object",
    "propertyNames": {"pattern": "^[^\\x00]*$"},
    "additionalProperties": {"$ref": _VALUE},
    "description": "The handler's arguments.",
}


def not_both(one: str, other: str) -> dict[str, Any]:
    """The schema of objects in which at most one of two fields is not null."""
    given = {"not": {"type": "null"}}
    return {"not": {"required": [one, other], "properties": {one: given, other: given}}}


def any_of(fields: Iterable[str]) -> dict[str, Any]:
    """The schema of objects in which at least one of these fields is not null."""
    given = {"not": {"type": "null"}}
    return {"anyOf": [{"required": [one], "properties": {one: given}} for one in fields]}


def one_of(one: str, other: str) -> dict[str, Any]:
    """The schema of objects in which exactly one of two fields is not null."""
    given = {"not": {"type": "null"}}
    return {
        "oneOf": [
            {"required": [one], "properties": {one: given, other: {"type": "null"}}},
            {"required": [other], "properties": {other: given, one: {"type": "null"}}},
        ]
    }


def whole(value: Any) -> Any:
    """``4.0`` is an integer in JSON, which has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


NameText = Annotated[str, WithJsonSchema(NAME)]
PartText = Annotated[str, WithJsonSchema(PART)]
"""A name that stands in a path, as those of tasks and queues do."""
TaskData = Annotated[dict[str, Any], WithJsonSchema(_DATA)]
Priority = Annotated[
    int,
    BeforeValidator(whole),
    WithJsonSchema({"type": "integer", "minimum": PRIORITIES[0], "maximum": PRIORITIES[-1]}),
]
Attempts = Annotated[
    int, BeforeValidator(whole), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS_MAX})
]
Positive = Annotated[float, WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": SECONDS_MAX})]
Delay = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": SECONDS_MAX})]
Interval = Annotated[float, WithJsonSchema({"type": "number", "minimum": SHORTEST, "maximum": SECONDS_MAX})]
Tags = Annotated[
    list[str], Field(fail_fast=True), WithJsonSchema({"type": "array", "maxItems": TAGS_MAX, "items": NAME})
]
