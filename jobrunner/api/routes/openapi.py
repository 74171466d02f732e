"""The description of all calls, for programs that make clients and for people who look one up."""

from __future__ import annotations

from typing import Any

from jobrunner.api.route import Call, Content, Route
from jobrunner.queue.key import Scope


async def told(call: Call) -> Content:
    """The OpenAPI 3.1 document of these calls."""
    document: dict[str, Any] = call.request.app.state.document()
    return document


ROUTES = tuple(
    Route(path, told, scope=Scope.READ, summary="This document", response=dict[str, Any], by_queue=True)
    for path in ("/api/v1/openapi.json", "/openapi.json")  # the second is where makers of clients look first
)
