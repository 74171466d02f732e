"""Why a task is not running."""

from __future__ import annotations

from jobrunner.api.answers_fleet import WhyAnswer
from jobrunner.api.route import Call, Content, Route
from jobrunner.queue import views
from jobrunner.queue.key import Scope
from jobrunner.queue.views import shapes


def why(call: Call) -> Content:
    """The exact reasons, by what a claim of this moment would find; of nodes, as of their last heartbeat."""
    with call.service.database.read() as conn:
        call.must_see(views.queue_of(conn, call.task_id), call.task_id)
        return shapes.why_dict(views.why(conn, call.task_id))


ROUTES = (
    Route(
        "/api/v1/tasks/{task_id}/why",
        why,
        scope=Scope.READ,
        summary="Why it is not running",
        response=WhyAnswer,
        by_queue=True,
    ),
)
