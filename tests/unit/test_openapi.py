"""The OpenAPI document says what each thing is that a caller sends; schemathesis shows that it says the truth."""

from __future__ import annotations

from typing import Any

from jobrunner.api.openapi import document
from jobrunner.api.routes import TABLE


def test_whatever_can_be_sent_is_described() -> None:
    told = document(TABLE)
    bare, seen = [], 0
    for path, calls in told["paths"].items():
        for method, call in calls.items():
            assert call["summary"], path
            for parameter in call.get("parameters", []):
                seen += 1
                if not parameter.get("description"):
                    bare.append(f"{method} {path} {parameter['name']}")
            for name, field in _body(call, told).get("properties", {}).items():
                seen += 1
                if not field.get("description"):
                    bare.append(f"{method} {path} body {name}")
    assert bare == []
    assert seen > 90


def _body(call: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    if "requestBody" not in call:
        return {}
    schema: dict[str, Any] = call["requestBody"]["content"]["application/json"]["schema"]
    return told["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def test_headers_that_a_call_reads_or_tells_are_in_it() -> None:
    submit = document(TABLE)["paths"]["/api/v1/task/execute"]["post"]
    asked = {one["name"] for one in submit["parameters"] if one["in"] == "header"}
    assert asked == {"Idempotency-Key", "Prefer", "traceparent"}
    assert {"Location", "Retry-After"} <= submit["responses"]["202"]["headers"].keys()
    assert "Retry-After" in submit["responses"]["429"]["headers"]
    assert "WWW-Authenticate" in submit["responses"]["401"]["headers"]
