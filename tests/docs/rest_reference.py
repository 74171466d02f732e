"""``rest-reference.md``, made of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobrunner.api.openapi import document
from jobrunner.api.routes import TABLE
from tests.docs.tables import table

HEAD = """# REST, call by call

Made of the OpenAPI document that each server has at `GET /api/v1/openapi.json`. \
How to submit and to wait, who may call, and what errors look like: [rest.md](rest.md).
"""
_ERROR = 400

Schema = Mapping[str, Any]


def markdown() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_lines(document(TABLE))]).rstrip() + "\n"


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    calls = [(method, path, call) for path, methods in told["paths"].items() for method, call in methods.items()]
    for tag in dict.fromkeys(call["tags"][0] for _, _, call in calls):
        yield from (f"## Calls: {tag}", "")
        for method, path, call in calls:
            if call["tags"][0] == tag:
                yield from _call(f"{method.upper()} {path}", call)
    yield from ("## Bodies and answers", "")
    for name, schema in sorted(told["components"]["schemas"].items()):
        yield from _schema(name, schema)


def _call(title: str, call: Mapping[str, Any]) -> Iterator[str]:
    scope = f"Scope: {call['x-scope']}." if "x-scope" in call else "Open to everybody."
    yield from (f"### {title}", "", f"{call['summary']}. {scope}".lstrip(". "), "")
    if call["description"]:
        yield from (_prose(call["description"]), "")
    parameters = call.get("parameters", [])
    rows = ((f"`{one['name']}`", one["in"], _kind(one["schema"]), _meaning(one)) for one in parameters)
    yield from table(("parameter", "in", "value", "meaning"), rows)
    body = call.get("requestBody")
    if body:
        yield from (f"Body: {_content(body)}{'' if body.get('required') else ', may be absent'}.", "")
    good: list[tuple[str, Any]] = []
    bad: list[tuple[str, Any]] = []
    for status, answer in call["responses"].items():
        (good if int(status) < _ERROR else bad).append((status, answer))
    yield from (" ".join(f"**{status}**: {_content(answer)}." for status, answer in good), "")
    told = {name: header for _, answer in good for name, header in answer.get("headers", {}).items()}
    yield from table(("header", "meaning"), ((f"`{name}`", _prose(one["description"])) for name, one in told.items()))
    if bad:
        yield from (f"Problems: {', '.join(status for status, _ in bad)}.", "")


def _content(told: Mapping[str, Any]) -> str:
    for media, held in told.get("content", {}).items():
        if "json" not in media:
            return f"`{media}`"
        return _kind(held["schema"])
    return "no body"


def _meaning(parameter: Mapping[str, Any]) -> str:
    return _prose(parameter.get("description") or parameter["schema"].get("description") or "")


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield from (f"### {name}", "")
    if schema.get("description"):
        yield from (_prose(schema["description"]), "")
    needed = schema.get("required", [])
    rows = (
        (f"`{field}`", _kind(told), _default(told, needed=field in needed), _prose(told.get("description", "")))
        for field, told in schema.get("properties", {}).items()
    )
    yield from table(("field", "value", "default", "meaning"), rows)
    if "properties" not in schema:
        yield from (f"{_kind(schema)}.", "")


def _default(schema: Schema, *, needed: bool) -> str:
    if needed:
        return "always there"
    default = schema.get("default")
    return "" if default is None else f"`{default if not isinstance(default, bool) else str(default).lower()}`"


def _kind(schema: Schema) -> str:
    """A schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_kind, schema[several])))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "JSON")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_kind(inner)}" if isinstance(inner, dict) and inner else "object"
    if kind == "string":
        return {"date-time": "time"}.get(
            schema.get("format", ""), f"text{_range(schema, 'minLength', 'maxLength', ' characters')}"
        )
    return f"{kind}{_range(schema, 'minimum', 'maximum')}{_range(schema, 'exclusiveMinimum', '')}"


def _range(schema: Schema, least: str, most: str, unit: str = "") -> str:
    low, high = schema.get(least), schema.get(most)
    if low is None and high is None:
        return ""
    if high is None:
        return f", above {low:g}" if least.startswith("ex") else f", {low:g}{unit} or more"
    return f", up to {high}{unit}" if low is None else f", {low} to {high}{unit}"


def _prose(text: str) -> str:
    return " ".join(text.split())
