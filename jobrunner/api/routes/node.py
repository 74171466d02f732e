"""The guide's calls on a node: its health, its statistics, and its shutdown."""

from __future__ import annotations

from jobrunner.api import fleet, wire
from jobrunner.api.problems import Refused
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.service import NodeFacts
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue.key import Scope


def health(call: Call) -> Content:
    """Whether this node should be given work: old clients use it only while it says ``healthy``."""
    told, lost = fleet.facts(call.service)
    return wire.health(told, database_lost=lost)


def stats(call: Call) -> Content:
    """The node, its tasks and its machine in figures."""
    return wire.Enveloped(success=True, message="", data=wire.node_stats(_facts(call)))


def statistics(call: Call) -> Content:
    """The task part of the statistics alone."""
    return wire.Enveloped(success=True, message="", data=wire.task_stats(_facts(call)))


def _facts(call: Call) -> NodeFacts:
    told, lost = fleet.facts(call.service)
    if lost and call.service.node is None:
        raise DatabaseUnavailable("no figures without the database")
    return told


def shutdown(call: Call) -> Content:
    """Drain this process: it claims nothing more, lets its tasks end or gives them back, and exits."""
    if call.service.shutdown is None:
        raise Refused(409, "cannot_shut_down", "this process does not let itself be shut down")
    with call.change(call.service.node().node_id if call.service.node else None):
        pass  # what is asked for outlives this process only in the audit
    call.service.shutdown()
    return Answer(wire.Enveloped(success=True, message="draining", data={}), 202)


ROUTES = (
    Route(
        "/api/v1/health", health, scope=Scope.READ, summary="Health of the node", response=wire.Health, by_queue=True
    ),
    Route("/api/v1/node/stats", stats, scope=Scope.READ, summary="The node in figures", response=wire.Enveloped),
    Route("/api/v1/statistics", statistics, scope=Scope.READ, summary="Task figures", response=wire.Enveloped),
    Route(
        "/api/v1/node/shutdown",
        shutdown,
        ("POST",),
        Scope.ADMIN,
        "Drain and stop this process",
        response=wire.Enveloped,
        statuses=(202,),
        refuses=(409,),
    ),
)
