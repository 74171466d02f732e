"""Liveness and readiness, open to every probe."""

from __future__ import annotations

from jobrunner.api import answers
from jobrunner.api.problems import RETRY_AFTER
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.schemas_fleet import ProbeQuery
from jobrunner.db import schema
from jobrunner.errors import DatabaseUnavailable, SchemaMismatch
from jobrunner.queue.key import Scope


async def healthz(call: Call) -> Content:
    """The process answers. Asks nothing of the database: a restart does not heal that.

    Strangers are told no node's id; who knows one hears whether it is this one's.
    """
    wanted = call.query.node
    own = call.service.node().node_id if call.service.node is not None else None
    return {"status": "ok", "is_node": None if wanted is None else wanted == own}


def readyz(call: Call) -> Content:
    """Whether requests can be served: the database is there, its schema fits, and the process does not drain."""
    reasons = []
    if call.service.stopping():
        reasons.append("draining")
    try:
        with call.service.database.read() as conn:
            schema.check(conn)
    except DatabaseUnavailable:
        reasons.append("the database does not answer")
    except SchemaMismatch as error:
        reasons.append(str(error))
    if reasons:
        return Answer({"status": "not ready", "reasons": reasons}, 503, {"Retry-After": RETRY_AFTER})
    return {"status": "ready", "reasons": []}


ROUTES = (
    Route(
        "/healthz",
        healthz,
        scope=Scope.OPEN,
        summary="Whether the process lives",
        query=ProbeQuery,
        response=answers.Alive,
    ),
    Route(
        "/readyz", readyz, scope=Scope.OPEN, summary="Whether it can serve", response=answers.Ready, statuses=(200, 503)
    ),
)
