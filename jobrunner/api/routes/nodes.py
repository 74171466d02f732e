"""The nodes of the fleet: listed, drained and resumed, removed."""

from __future__ import annotations

from starlette.responses import Response

from jobrunner.api.answers_fleet import NodeAnswer, NodesAnswer
from jobrunner.api.problems import Refused
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.errors import NodeNotFound
from jobrunner.queue import store, views
from jobrunner.queue.key import Scope
from jobrunner.queue.views import shapes


def listed(call: Call) -> Content:
    """Every node of the last day, living ones first."""
    with call.service.database.read() as conn:
        return shapes.nodes_dict(views.all_nodes(conn))


def one(call: Call) -> Content:
    """One node."""
    with call.service.database.read() as conn:
        return shapes.node_dict(views.one_node(conn, _id(call)))


def drain(call: Call) -> Content:
    """Have it claim nothing from its next heartbeat on. What runs goes on, and the process stays until it is ended."""
    node_id = _id(call)
    with call.change(node_id) as change:
        if views.one_node(change.conn, node_id).stopped_at is not None:
            raise Refused(409, "node_stopped", "this node has ended: it claims nothing any more")
        store.drain_node(change.conn, node_id)
        told = shapes.node_dict(views.one_node(change.conn, node_id))
    return Answer(told, 202)


def resume(call: Call) -> Content:
    """Have it claim again, from its next heartbeat on."""
    node_id = _id(call)
    with call.change(node_id) as change:
        if views.one_node(change.conn, node_id).stopped_at is not None:
            raise Refused(409, "node_stopped", "this node has ended; a new one claims as soon as it is started")
        store.resume_node(change.conn, node_id)
        told = shapes.node_dict(views.one_node(change.conn, node_id))
    return Answer(told, 202)


def remove(call: Call) -> Content:
    """Delete what is known of one that ended or fell silent; what it had claimed comes back by its leases all the same.

    One that was only silent adds itself again with its next heartbeat.
    """
    node_id = _id(call)
    with call.change(node_id) as change:
        store.remove_node(change.conn, node_id)
    return Response(status_code=204)


def _id(call: Call) -> str:
    return call.name("node_id", NodeNotFound)


_ALL, _ONE = "/api/v1/nodes", "/api/v1/nodes/{node_id}"
ROUTES = (
    Route(_ALL, listed, scope=Scope.READ, summary="List nodes", response=NodesAnswer),
    Route(_ONE, one, scope=Scope.READ, summary="One node", response=NodeAnswer),
    Route(_ONE, remove, ("DELETE",), Scope.OPERATE, "Remove one that is gone", statuses=(204,), refuses=(409,)),
    *(
        Route(
            f"{_ONE}/{name}",
            act,
            ("POST",),
            Scope.OPERATE,
            summary,
            response=NodeAnswer,
            statuses=(202,),
            refuses=(409,),
        )
        for name, act, summary in (
            ("drain", drain, "Have it claim nothing"),
            ("resume", resume, "Have it claim again"),
        )
    ),
)
