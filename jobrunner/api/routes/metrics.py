"""Figures for Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from jobrunner.api.metrics import Metrics
from jobrunner.api.route import Call, Content, Route
from jobrunner.queue.key import Scope


def metrics(call: Call) -> Content:
    """Queues, tasks, how long they waited and ran, nodes and this process's calls, in Prometheus's text format."""
    found: Metrics = call.request.app.state.metrics
    return Response(found.text(), media_type=CONTENT_TYPE_LATEST)


ROUTES = (
    Route("/metrics", metrics, scope=Scope.READ, summary="Figures for Prometheus", response=str, media="text/plain"),
)
