"""The description of all calls, for programs that make clients and for people who look one up."""

from __future__ import annotations

from typing import Any

from jobrunner.api.route import Call, Content, Route
from jobrunner.queue.key import Scope


async def told(call: Call) -> Content:
    """The OpenAPI 3.1 document of these calls."""
    document: dict[str, Any] = call.request.app.state.document()
    return document


ROUTES = (Route("/api/v1/openapi.json", told, scope=Scope.READ, summary="This document", response=dict, by_queue=True),)
