"""Queues, nodes and task types, as a desk has them; and how they are asked for over REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from jobrunner.client.asking import OverRest, part

Answer = dict[str, Any]

_QUEUE = ("name", "paused", "max_running", "max_pending")  # what one of them has, whatever the server's version
_NODE = ("id", "name", "alive")


class FleetDesk(Protocol):
    """What can be asked about where tasks wait and run."""

    def queues(self) -> Answer:
        """The ``queues``, by name."""
        ...

    def pause_queue(self, name: str, reason: str = "") -> Answer:
        """Claim nothing of it; returns the queue."""
        ...

    def resume_queue(self, name: str) -> Answer:
        """Claim from it again; returns the queue."""
        ...

    def limit_queue(self, name: str, limits: Mapping[str, int | None]) -> Answer:
        """Set ``max_running`` and ``max_pending``, None lifts a limit; returns the queue."""
        ...

    def node(self, node_id: str) -> Answer:
        """One node."""
        ...

    def drain_node(self, node_id: str) -> Answer:
        """Have it claim nothing from its next heartbeat on; returns the node."""
        ...

    def resume_node(self, node_id: str) -> Answer:
        """Have it claim again; returns the node."""
        ...

    def remove_node(self, node_id: str) -> None:
        """Delete what is known of a node that ended or fell silent."""
        ...

    def types(self) -> Answer:
        """The ``types`` that workers ever published, each with the nodes that claim it now."""
        ...


class RemoteFleet:
    """The same over REST."""

    def queues(self: OverRest) -> Answer:
        return self.call("GET", "/api/v1/queues", needed=("queues",))

    def pause_queue(self: OverRest, name: str, reason: str = "") -> Answer:
        return self.call("POST", f"/api/v1/queues/{part(name)}/pause", body={"reason": reason}, needed=_QUEUE)

    def resume_queue(self: OverRest, name: str) -> Answer:
        return self.call("POST", f"/api/v1/queues/{part(name)}/resume", body={}, needed=_QUEUE)

    def limit_queue(self: OverRest, name: str, limits: Mapping[str, int | None]) -> Answer:
        return self.call("PATCH", f"/api/v1/queues/{part(name)}", body=limits, needed=_QUEUE)

    def node(self: OverRest, node_id: str) -> Answer:
        return self.call("GET", f"/api/v1/nodes/{part(node_id)}", needed=_NODE)

    def drain_node(self: OverRest, node_id: str) -> Answer:
        return self.call("POST", f"/api/v1/nodes/{part(node_id)}/drain", body={}, needed=_NODE)

    def resume_node(self: OverRest, node_id: str) -> Answer:
        return self.call("POST", f"/api/v1/nodes/{part(node_id)}/resume", body={}, needed=_NODE)

    def remove_node(self: OverRest, node_id: str) -> None:
        self.call("DELETE", f"/api/v1/nodes/{part(node_id)}", needed=None)

    def types(self: OverRest) -> Answer:
        return self.call("GET", "/api/v1/types", needed=("types",))
