"""The ASGI application: the table of routes in its frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from jobrunner.api import openapi
from jobrunner.api.frame import Frame
from jobrunner.api.intake import Intake
from jobrunner.api.keyring import Keyring
from jobrunner.api.looks import Looks
from jobrunner.api.metrics import Metrics
from jobrunner.api.problems import Refused, from_error
from jobrunner.api.route import Route, mounted
from jobrunner.api.routes import TABLE
from jobrunner.api.service import Service
from jobrunner.api.waits import Waits
from jobrunner.errors import JobrunnerError


def create_app(service: Service, table: Sequence[Route] = TABLE) -> Starlette:
    """The application of one process. Raises TypeError for a route that declares no scope."""
    metrics = Metrics(service.database)
    app = Starlette(
        routes=mounted(table, service),
        middleware=[Middleware(Frame, answered=metrics.answered)],
        exception_handlers=dict.fromkeys((HTTPException, JobrunnerError, Refused), _refuse),
    )
    app.router.redirect_slashes = False
    app.state.keyring = Keyring(service.database)
    app.state.document = cache(partial(openapi.document, table, service.settings.root_path))
    app.state.metrics = metrics
    app.state.looks = Looks(service.database)
    app.state.waits = Waits(service)
    app.state.intake = Intake(service.database, allow_unknown=service.settings.allow_unknown_types)
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    return from_error(request, error)
