"""A node as the bridge sees it: its health for a few seconds, whose database it works on, and how loaded it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable
from typing import Any

import httpx2

from jobrunner.client.bridge_calls import NotAccepted, Unsure, call, json_of, read
from jobrunner.client.bridge_values import AvailableNode, local_time
from jobrunner.logs import get_logger
from jobrunner.settings.nodes import NodeAddress

HEALTH_FOR = 3.0  # seconds that a health is believed, unless a call fails before
HEALTH_WITHIN = 3.0  # seconds in which a node answers, or is not used
HEALTHY = "healthy"
PROBLEMS = "urn:problem-type:jobrunner:"  # what the type of every refusal by jobrunner begins with
PER_TASK, PER_CPU, PER_MEMORY = 10.0, 0.5, 0.2  # points: two busy cores weigh as much as five running tasks

log = get_logger(__name__)


class Node:
    """One node that is asked over HTTP: jobrunner's, or one of the old system.

    ``fleet`` are the ids of the nodes that work on its database, as it told last; two nodes whose fleets have one in
    common share it, since every start of a node has an id of its own; empty where that is not known. ``is_jobrunner``
    is None until it is known. ``refuses`` says that it lets us not in.
    """

    def __init__(self, address: NodeAddress) -> None:
        self.id = address.node_id
        self.url = address.url
        self.key = address.api_key.get_secret_value() if address.api_key else None
        self.https = address.https
        self.health: AvailableNode | None = None
        self.fleet: frozenset[str] = frozenset()
        self.is_jobrunner: bool | None = None
        self.refuses: str | None = None
        self.errands = 0  # our own tasks that it has now
        self._errands_then = 0
        self._asked_at = float("-inf")

    @property
    def load(self) -> float:
        """Points of running tasks, CPU and memory; the least loaded node is the best. Ours count at once."""
        health = self.health
        if health is None:
            return float("inf")
        running = max(self.errands, health.active_tasks + self.errands - self._errands_then)
        return PER_TASK * running + PER_CPU * health.cpu_percent + PER_MEMORY * health.memory_percent

    @property
    def healthy(self) -> bool:
        """Whether its last word was that it takes work."""
        return self.health is not None and self.health.status == HEALTHY

    def stale(self) -> bool:
        """Whether its health has to be asked for."""
        return time.monotonic() - self._asked_at > HEALTH_FOR

    def distrust(self) -> None:
        """A call failed: what it said before counts no more."""
        self.health = None
        self._asked_at = float("-inf")

    def shares_with(self, other: Node) -> bool:
        """Whether both work on one database, so that a task that one has accepted is the other's as well."""
        return bool(self.fleet & other.fleet)

    def may_share_with(self, other: Node) -> bool:
        """Whether both may work on one database, for all that is known. One of the old system works on its own."""
        known = False in (self.is_jobrunner, other.is_jobrunner) or (self.fleet and other.fleet)
        return not known or self.shares_with(other)

    async def call(
        self, http: httpx2.AsyncClient, method: str, path: str, *, within: float, **given: Any
    ) -> httpx2.Response:
        """One call; a failure makes its health worthless. Raises NotAccepted or Unsure."""
        try:
            return await call(http, method, f"{self.url}{path}", key=self.key, within=within, **given)
        except (NotAccepted, Unsure):
            self.distrust()
            raise

    async def look(self, http: httpx2.AsyncClient) -> None:
        """Ask for its health, and whose database it works on; never raises for what the node does."""
        self._errands_then = self.errands
        refused, self.refuses = self.refuses, None
        try:
            self.health = await self._asked(http)
        except NotAccepted as error:
            self.distrust()
            if error.locked:
                self.refuses = str(error)
                if refused is None:
                    log.warning("a node does not let us in", node=self.id, reason=str(error))
        except (Unsure, ValueError, TypeError, KeyError):  # no answer in time, or none that is a node's
            self.distrust()
        self._asked_at = time.monotonic()  # also where it failed: a dead node must not hold up every task

    async def _asked(self, http: httpx2.AsyncClient) -> AvailableNode:
        told = read(await self.call(http, "GET", "/api/v1/health", within=HEALTH_WITHIN))
        if self.is_jobrunner is None:
            self.is_jobrunner = await self._introduced(http)
        if self.is_jobrunner:
            self.fleet = await self._listed(http)
        return _health(self.id, self.url, told)

    async def _listed(self, http: httpx2.AsyncClient) -> frozenset[str]:
        """The living nodes of its database; none where it does not say: a key of named queues may not list them."""
        answer = await self.call(http, "GET", "/api/v1/nodes", within=HEALTH_WITHIN)
        if not answer.is_success:
            return frozenset()
        return frozenset(str(one["id"]) for one in read(answer)["nodes"] if one["alive"])

    async def _introduced(self, http: httpx2.AsyncClient) -> bool | None:
        """Whether it is jobrunner, where the same request twice is one task; the old system promises nothing.

        A refusal in jobrunner's own words tells it as well. None where the answer says neither: it is asked again.
        """
        answer = await self.call(http, "GET", "/", within=HEALTH_WITHIN)
        told = json_of(answer)
        if not isinstance(told, dict):
            return None
        if str(told.get("type")).startswith(PROBLEMS):
            return True
        return told.get("service") == "jobrunner" if answer.is_success else None


def _health(node_id: str, url: str, told: Any) -> AvailableNode:
    return AvailableNode(
        node_id=node_id,
        node_name=str(told.get("node_name") or node_id),
        address=url,
        status=str(told["status"]),
        cpu_percent=float(told.get("cpu_percent") or 0.0),
        memory_percent=float(told.get("memory_percent") or 0.0),
        active_tasks=int(told.get("active_tasks") or 0),
        completed_tasks=int(told.get("completed_tasks") or 0),
        failed_tasks=int(told.get("failed_tasks") or 0),
        uptime_seconds=float(told.get("uptime_seconds") or 0.0),
        last_heartbeat=local_time(told.get("last_heartbeat")),
        capabilities=tuple(str(name) for name in told.get("capabilities") or ()),
    )


async def look_at(http: httpx2.AsyncClient, nodes: Iterable[Node]) -> None:
    """Ask those whose health is not fresh, all at once."""
    await asyncio.gather(*(node.look(http) for node in nodes if node.stale()))


def best_first(nodes: Iterable[Node], task_type: str, *, but: Collection[Node] = ()) -> list[Node]:
    """The healthy ones, those that know the task type first, then by load."""

    def place(node: Node) -> tuple[bool, float, str]:
        knows = node.health is not None and (not node.health.capabilities or task_type in node.health.capabilities)
        return (not knows, node.load, node.id)

    return sorted((node for node in nodes if node.healthy and node not in but), key=place)


def databases(nodes: Iterable[Node]) -> list[list[Node]]:
    """These nodes by the database that they work on, in the order of their ids; the old system's are alone each.

    Those of which nobody knows whether they share one are taken together.
    """
    groups: list[list[Node]] = []
    for node in sorted(nodes, key=lambda node: node.id):
        theirs = [group for group in groups if any(node.may_share_with(other) for other in group)]
        merged = [other for group in theirs for other in group]
        groups = [group for group in groups if group not in theirs]
        groups.append([*merged, node])
    return groups
