"""The task types that workers publish."""

from __future__ import annotations

from jobrunner.api.answers_fleet import TypesAnswer
from jobrunner.api.route import Call, Content, Route
from jobrunner.queue import views
from jobrunner.queue.key import Scope
from jobrunner.queue.views import shapes


def listed(call: Call) -> Content:
    """Every type that a worker ever published, with the nodes that claim it now."""
    with call.service.database.read() as conn:
        return {"types": [shapes.type_dict(told, nodes) for told, nodes in views.types_and_nodes(conn)]}


ROUTES = (Route("/api/v1/types", listed, scope=Scope.READ, summary="List task types", response=TypesAnswer),)
