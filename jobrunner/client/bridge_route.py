"""Where a task goes: to the node that has it already, to the best one, or home."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import httpx2

from jobrunner.client.bridge_calls import LATER, NotAccepted
from jobrunner.client.bridge_errand import LOST_AFTER, Errand, Lost
from jobrunner.client.bridge_nodes import Node, best_first, databases, look_at
from jobrunner.client.bridge_placed import Placed, Placements
from jobrunner.client.bridge_values import AvailableNode, BridgeTask, TaskResult
from jobrunner.client.errors import NoSuchType, NotTaken, OutcomeUnknown, TakenId
from jobrunner.db.lock import owner
from jobrunner.errors import DatabaseUnavailable, TaskExists
from jobrunner.logs import get_logger
from jobrunner.settings import Settings
from jobrunner.settings.nodes import parse_node

if TYPE_CHECKING:
    from jobrunner.client.bridge_home import Home

OWNER = "owner"  # the name of the process that owns our SQLite file

log = get_logger(__name__)


@dataclass(frozen=True)
class Wish:
    """What a caller allows: running a task a second time elsewhere, and ending it when the time is over."""

    run_again: bool = False
    cancel: bool = False


class Router:
    """Knows the nodes, and which of them has which task. A task is at one place, also after its end."""

    def __init__(self, settings: Settings) -> None:
        self.distributed = settings.distributed
        self._settings = settings
        self._nodes: dict[str, Node] = {}
        for address in settings.nodes:
            self.add(Node(replace(address, api_key=address.api_key or settings.api_key)))
        self._owner: Node | None = None
        self._placements = Placements()
        self._opening = threading.Lock()
        self._home: Home | None = None
        self._closed = False
        self._looking: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def add(self, node: Node) -> None:
        """Use this node; it replaces one of the same id."""
        self._nodes[node.id] = node

    def remove(self, node_id: str) -> bool:
        """Forget a node; whether it was known."""
        return self._nodes.pop(node_id, None) is not None

    def has(self, task_id: str) -> bool:
        """Whether this task is on its way already, or was."""
        return task_id in self._placements

    def close(self) -> None:
        """End what runs here, and begin no more."""
        with self._opening:
            self._closed = True
            home, self._home = self._home, None
        if home is not None:
            home.close()

    def check_open(self) -> None:
        """Raises RuntimeError once it is closed."""
        if self._closed:
            raise RuntimeError("this bridge is closed; get_distributed_bridge() makes another")

    async def available(self, http: httpx2.AsyncClient) -> list[AvailableNode]:
        """The healthy nodes, best first, and behind them those of our database."""
        found = [node.health for node in best_first(await self._looked_at(http), "") if node.health is not None]
        if self.distributed and self._settings.database_url and not self._settings.is_sqlite:
            theirs = {one for node in self._nodes.values() for one in node.fleet}
            try:
                at_home = await asyncio.to_thread(self._open_home().nodes)
            except DatabaseUnavailable as error:
                log.warning("the nodes of the database are not known now", error=str(error))
                return found
            found += [node for node in at_home if node.node_id not in theirs]
        return found

    async def databases(self, http: httpx2.AsyncClient) -> list[list[Node]]:
        """The healthy nodes, by the database that they work on."""
        return databases(node for node in await self._looked_at(http) if node.healthy)

    async def run(
        self, http: httpx2.AsyncClient, task: BridgeTask, until: float, wish: Wish, *, first: Collection[Node] = ()
    ) -> TaskResult:
        """Bring the task where it belongs, and its result back; ``first`` are the nodes that are asked before others.

        It goes from one node to the next only where the one certainly did not accept it.
        """
        with self._placements.calling(task.task_id):
            return await self._run(http, task, until, wish, first)

    async def _run(
        self, http: httpx2.AsyncClient, task: BridgeTask, until: float, wish: Wish, first: Collection[Node]
    ) -> TaskResult:
        refused: dict[Node, NotAccepted] = {}
        lost: set[Node] = set()
        while True:
            placed = self._placements.get(task.task_id)
            mine = placed is None
            if placed is None:
                chosen = await self._choose(http, task, refused, lost, first)
                if chosen is None and not self.has(task.task_id) and await self._wait(task, refused, until):
                    continue
                placed = self._placements.claim(task, chosen)
                if placed is None:
                    continue
            elif not placed.settled:
                if not await placed.wait(until):
                    at = placed.node.id if placed.node else None
                    raise OutcomeUnknown(task.task_id, "another call of this bridge hands it in", at)
                continue  # with what came of it
            placed.check(task)
            node = self._as_known_now(placed.node)
            if node is None:
                return await self._at_home(task, until, wish, placed, mine=mine)
            known = placed.last_word is not None
            errand = Errand(
                http,
                task,
                node,
                partial(self._door, http),
                min(until, time.monotonic() + LOST_AFTER) if known else until,
                handed_over=placed.settle,
                sent=not mine,
                told=placed.ended,
                gives_up=wish.run_again and not known,
            )
            node.errands += 1
            try:
                return await self._on_errand(errand, task, wish, placed)
            except NotAccepted as error:
                refused[node] = error
                log.info("a node did not take a task", node=node.id, task_id=task.task_id, reason=str(error))
            except OutcomeUnknown:
                if placed.last_word is None:
                    raise
                return placed.last_word  # nothing changes that, whatever became of the node since
            except Lost:
                lost.add(node)
                self._placements.forget(task.task_id, placed)
                log.warning("a node is lost; its task runs again elsewhere", node=node.id, task_id=task.task_id)
            finally:
                node.errands -= 1
                if not errand.sent:
                    self._placements.forget(task.task_id, placed)

    async def _on_errand(self, errand: Errand, task: BridgeTask, wish: Wish, placed: Placed) -> TaskResult:
        told = await errand.run()
        if not told.ended and wish.cancel:
            after = await errand.cancel()
            told = after or replace(told, error=f"{told.error}; it could not be cancelled")
        return placed.heard(told)

    async def _at_home(self, task: BridgeTask, until: float, wish: Wish, placed: Placed, *, mine: bool) -> TaskResult:
        try:
            told = await self._open_home().run(task, until, placed.settle, cancel=wish.cancel)
        except TaskExists as error:  # as a node says it
            raise TakenId(409, str(error), {"code": "task_exists"}, task_id=task.task_id) from error
        finally:
            if mine and not placed.settled:  # nothing was put into the queue
                self._placements.forget(task.task_id, placed)
        return placed.heard(told)

    def _as_known_now(self, node: Node | None) -> Node | None:
        """A place under the key that it has by now; who owned our file, as who owns it now: home, where nobody does."""
        if node is None:
            return None
        if node.owns_our_file:
            return self._owner_among([*self._nodes.values()] if self.distributed else [])
        now = self._nodes.get(node.id)
        return now if now is not None and now.url == node.url else node

    def _open_home(self) -> Home:
        from jobrunner.client.bridge_home import Home  # brings SQLAlchemy, which a program with nodes has no use for

        with self._opening:
            self.check_open()
            if self._home is None:
                self._home = Home(self._settings)
            return self._home

    async def _choose(
        self,
        http: httpx2.AsyncClient,
        task: BridgeTask,
        refused: Collection[Node],
        lost: Collection[Node],
        first: Collection[Node],
    ) -> Node | None:
        """The best node that is left, or None."""
        left = best_first(await self._looked_at(http), task.task_type, but={*refused, *lost})
        return min(left, key=lambda node: node not in first, default=None)  # the first of equals

    async def _wait(self, task: BridgeTask, refused: dict[Node, NotAccepted], until: float) -> bool:
        """No node is left. False where the task may run here, True where it is worth to ask again after a wait.

        Raises NotTaken where nodes are there and will not have it: a wrong key must not look like no node. Where all of
        them find the request itself wrong, raises what it would come to here: BadInput, or NoSuchType.
        """
        answered = {node: error for node, error in refused.items() if error.status is not None}
        locked = {node: node.refuses for node in self._all() if node.refuses and node not in answered}
        if not answered and not locked:
            return False
        later = [node for node, error in answered.items() if error.status in LATER]
        after = min((answered[node].after for node in later), default=0.0)
        faults = [error.fault for error in answered.values() if error.fault is not None]
        if len(faults) == len(answered) and not locked:
            raise next((fault for fault in faults if not isinstance(fault, NoSuchType)), faults[0])
        if not later or time.monotonic() + after >= until:
            raise NotTaken(task.task_id, {node.id: str(error) for node, error in [*answered.items(), *locked.items()]})
        await asyncio.sleep(after)
        for node in later:
            del refused[node]
        return True

    async def _looked_at(self, http: httpx2.AsyncClient) -> list[Node]:
        nodes = self._all()
        async with self._looking.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            await look_at(http, nodes)
        return nodes

    def _all(self) -> list[Node]:
        """Those to use, with the process that owns our SQLite file: it is a node, as nobody else can open the file."""
        nodes = [*self._nodes.values()] if self.distributed else []
        owning = self._owner_among(nodes)
        return nodes if owning is None or owning in nodes else [*nodes, owning]

    def _owner_among(self, nodes: Collection[Node]) -> Node | None:
        """Who owns our SQLite file now, under the name that it has among these."""
        if not self._settings.is_sqlite or (self._home and self._home.is_open):
            return None
        found = owner(self._settings.url.removeprefix("sqlite:///"))
        url = found.get("url") if found else None
        named = next((node for node in nodes if node.url == url), None)
        if url is None or named is not None:
            return named
        if self._owner is None or self._owner.url != url:
            with suppress(ValueError):  # some other program's lock
                address = parse_node(f"{OWNER}={url}")
                self._owner = Node(replace(address, api_key=self._settings.api_key))
                self._owner.owns_our_file = True
        return self._owner

    async def _door(self, http: httpx2.AsyncClient, node: Node) -> Node:
        """Another node that answers and shares this one's database, a healthy one if it can be; else this one."""
        sharing = [other for other in self._all() if other is not node and other.shares_with(node)]
        await look_at(http, sharing)  # one that fell silent before may be back
        answering = [other for other in sharing if other.health is not None]
        return min(answering, key=lambda other: (not other.healthy, other.load), default=node)
