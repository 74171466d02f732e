"""The nodes of the fleet."""

from __future__ import annotations

from jobrunner.api.route import Call, Content, Route
from jobrunner.queue import views
from jobrunner.queue.key import Scope
from jobrunner.queue.views import shapes


def listed(call: Call) -> Content:
    """Every node of the last day, living ones first."""
    with call.service.database.read() as conn:
        return shapes.nodes_dict(views.all_nodes(conn))


ROUTES = (Route("/api/v1/nodes", listed, scope=Scope.READ, summary="List nodes"),)
