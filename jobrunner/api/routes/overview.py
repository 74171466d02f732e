"""What the page shows, as JSON."""

from __future__ import annotations

from jobrunner.api import overview
from jobrunner.api.route import Call, Content, Route
from jobrunner.queue.key import Scope


def whole(call: Call) -> Content:
    """Verdict and cause, counts by status (each up to 10,000), nodes, running and last tasks, next firings."""
    with call.service.database.read() as conn:
        return overview.as_dict(overview.gather(conn))


ROUTES = (Route("/api/v1/overview", whole, scope=Scope.READ, summary="How the queue stands"),)
