"""Queues, nodes and task types straight at the database."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from jobrunner.client.asking import AtDatabase
from jobrunner.client.desk import Answer
from jobrunner.client.errors import Refused
from jobrunner.client.who import whoever
from jobrunner.queue import store, views
from jobrunner.queue.views import shapes


class LocalFleet:
    """What can be asked about where tasks wait and run, at the database."""

    def queues(self: AtDatabase) -> Answer:
        with self.looking() as conn:
            return {"queues": [shapes.plain(one) for one in views.all_queues(conn)]}

    def pause_queue(self: AtDatabase, name: str, reason: str = "") -> Answer:
        with self.changing("POST /api/v1/queues/{name}/pause", name, reason=reason) as change:
            store.pause_queue(change.conn, name, by=whoever(), reason=reason)
            return shapes.plain(views.one_queue(change.conn, name))

    def resume_queue(self: AtDatabase, name: str) -> Answer:
        with self.changing("POST /api/v1/queues/{name}/resume", name) as change:
            store.resume_queue(change.conn, name)
            told = shapes.plain(views.one_queue(change.conn, name))
        self.wake()
        return told

    def limit_queue(self: AtDatabase, name: str, limits: Mapping[str, int | None]) -> Answer:
        with self.changing("PATCH /api/v1/queues/{name}", name, **limits) as change:
            store.limit_queue(change.conn, name, **limits)
            told = shapes.plain(views.one_queue(change.conn, name))
        self.wake()
        return told

    def node(self: AtDatabase, node_id: str) -> Answer:
        with self.looking() as conn:
            return shapes.node_dict(views.one_node(conn, node_id))

    def drain_node(self: AtDatabase, node_id: str) -> Answer:
        with self.changing("POST /api/v1/nodes/{node_id}/drain", node_id) as change:
            _must_be_there(change.conn, node_id)
            store.drain_node(change.conn, node_id)
            return shapes.node_dict(views.one_node(change.conn, node_id))

    def resume_node(self: AtDatabase, node_id: str) -> Answer:
        with self.changing("POST /api/v1/nodes/{node_id}/resume", node_id) as change:
            _must_be_there(change.conn, node_id)
            store.resume_node(change.conn, node_id)
            return shapes.node_dict(views.one_node(change.conn, node_id))

    def remove_node(self: AtDatabase, node_id: str) -> None:
        with self.changing("DELETE /api/v1/nodes/{node_id}", node_id) as change:
            store.remove_node(change.conn, node_id)

    def types(self: AtDatabase) -> Answer:
        with self.looking() as conn:
            return {"types": [shapes.type_dict(told, nodes) for told, nodes in views.types_and_nodes(conn)]}


def _must_be_there(conn: Connection, node_id: str) -> None:
    if views.one_node(conn, node_id).stopped_at is not None:
        raise Refused(409, f"node {node_id} has ended; a new one claims as soon as it is started", {})
