"""The bridge of the guide: tasks go to the best node, in parts where that helps, or run here where there is none."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import httpx2
from pydantic import SecretStr

from jobrunner.client.bridge_calls import open_client
from jobrunner.client.bridge_memory import Memory
from jobrunner.client.bridge_nodes import Node
from jobrunner.client.bridge_placed import another
from jobrunner.client.bridge_route import Router, Wish
from jobrunner.client.bridge_split import Part, Plan, merged, parts
from jobrunner.client.bridge_values import AvailableNode, BridgeTask, TaskResult
from jobrunner.client.errors import NotTaken, OutcomeUnknown
from jobrunner.errors import InvalidInput, JobrunnerError, Problem
from jobrunner.queue.request import new_task
from jobrunner.queue.task import DEFAULT_PRIORITY, Status
from jobrunner.settings import Settings, load
from jobrunner.settings.nodes import NODE_PORT, NodeAddress

TIMEOUT = 300.0  # seconds


class DistributedBridge:
    """Runs tasks on nodes, or here. Safe in threads, and in any number of event loops, one after the other or at once.

    Knows the nodes of ``settings.nodes``, those that are added, and the process that owns this one's SQLite file; where
    ``settings.database_url`` names a PostgreSQL database, also that one's nodes. Nothing is asked or opened before it
    is needed.
    """

    def __init__(self, settings: Settings) -> None:
        self._router = Router(settings)
        self._plans: Memory[Plan] = Memory()  # what was split, and how

    @property
    def distributed(self) -> bool:
        """Whether nodes are used at all. May be set; what is on its way stays there."""
        return self._router.distributed

    @distributed.setter
    def distributed(self, value: bool) -> None:
        self._router.distributed = value

    def add_node(
        self, node_id: str, host: str, port: int = NODE_PORT, api_key: str | None = None, *, https: bool = False
    ) -> None:
        """Use the node at ``host`` from now on; one of the same id is replaced. ``host`` is a name or an IP address.

        Raises InvalidInput where that leads nowhere; whether anybody answers there is not asked.
        """
        try:
            address = NodeAddress(node_id, host, port, SecretStr(api_key) if api_key else None, https)
        except ValueError as error:
            raise InvalidInput("the node is refused", [Problem("", str(error))]) from None
        self._router.add(Node(address))

    def remove_node(self, node_id: str) -> bool:
        """Send nothing more to this node; whether it was known. What it has already is waited for."""
        return self._router.remove(node_id)

    def has_available_nodes(self) -> bool:
        """Whether a node takes work now. Waits for their healths up to seconds; see :meth:`available_nodes`."""
        return bool(self.get_available_nodes())

    def get_available_nodes(self) -> list[AvailableNode]:
        """The nodes that say that they are healthy, best first, with their figures. Blocks, also in a coroutine."""
        with ThreadPoolExecutor(1) as apart:  # whose loop is nobody else's
            return apart.submit(asyncio.run, self.available_nodes()).result()

    async def available_nodes(self) -> list[AvailableNode]:
        """The same, for coroutines."""
        self._router.check_open()
        async with open_client(self._tls) as http:
            return await self._router.available(http)

    async def execute_task(
        self,
        task_id: str,
        task_type: str,
        task_data: Mapping[str, Any],
        priority: int = DEFAULT_PRIORITY,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  the guide's name, and it ends nothing by itself
        *,
        split: bool = True,
        run_again: bool = False,
        cancel_on_timeout: bool = False,
    ) -> TaskResult:
        """Run a task on the best node, or here where there is none, and wait for its end, ``timeout`` seconds at most.

        A task that is still ``pending`` or ``running`` then is returned as such, and goes on; the same call waits for
        it again. ``cancel_on_timeout`` asks for its end instead. ``split`` lets an import of several symbols go to
        nodes of several databases in parts. ``run_again`` lets a task run elsewhere, or here, when its node has not
        answered for ten seconds, though it may run, or have run, there as well.

        Raises OutcomeUnknown where nobody can say what became of it, NotTaken where it certainly runs nowhere since
        every node refused it, Refused (409) where its id is another task's, InvalidInput (UnknownTaskType) for what
        every node would refuse, or this process where it runs here; then also what the database raises. A bridge that
        is closed raises RuntimeError.
        """
        self._router.check_open()
        given = {"task_id": task_id, "task_data": task_data, "timeout": timeout}
        if missing := [Problem(f"/{name}", "must be given") for name, value in given.items() if value is None]:
            raise InvalidInput("the request is refused", missing)
        new_task(task_type, task_data, task_id=task_id, priority=priority, timeout=timeout)
        task = BridgeTask(task_id, task_type, dict(task_data), priority, timeout)
        until, wish = time.monotonic() + timeout, Wish(run_again, cancel_on_timeout)
        with self._plans.calling(task_id):
            return await self._execute(task, until, wish, split=split)

    async def _execute(self, task: BridgeTask, until: float, wish: Wish, *, split: bool) -> TaskResult:
        async with open_client(self._tls) as http:
            groups: list[list[Node]] = []
            if split and not self._router.has(task.task_id):
                groups = await self._router.databases(http)
            plan = self._plan(task, len(groups))
            if plan is None:
                return await self._router.run(http, task, until, wish)
            try:
                return await self._in_parts(http, task, plan.parts, groups, until, wish)
            finally:
                self._forget_if_nowhere(task.task_id, plan)

    async def _in_parts(
        self,
        http: httpx2.AsyncClient,
        task: BridgeTask,
        made: list[Part],
        groups: list[list[Node]],
        until: float,
        wish: Wish,
    ) -> TaskResult:
        chosen = [groups[number % len(groups)] if groups else [] for number in range(len(made))]
        errands = [
            self._router.run(http, part.task, until, wish, first=first)
            for part, first in zip(made, chosen, strict=True)
        ]
        return _together(task, made, await asyncio.gather(*errands, return_exceptions=True))

    def _plan(self, task: BridgeTask, count: int) -> Plan | None:
        """How the task is split, as it was at first; None where it is not. Raises TakenId where it was another task."""
        with self._plans.lock:
            plan = self._plans.get(task.task_id)
            if plan is None:
                made = parts(task, count)
                if not made or self._router.has(task.task_id):  # another call may have sent it whole meanwhile
                    return None
                plan = Plan(task.request_hash, made)
                self._plans.put(task.task_id, plan)
            if plan.request_hash != task.request_hash:
                raise another(task.task_id)
            return plan

    def _forget_if_nowhere(self, task_id: str, plan: Plan) -> None:
        """What no node took is nobody's plan, once its last call is over."""
        with self._plans.lock:
            if self._plans.calls(task_id) == 1 and not any(self._router.has(part.task.task_id) for part in plan.parts):
                self._plans.drop(task_id)

    def close(self) -> None:
        """End what runs in this process, in good order; the next :func:`get_distributed_bridge` makes a new bridge.

        What nodes have goes on there; calls that wait for it wait on. This bridge takes nothing more.
        """
        global _bridge
        with _making:
            if _bridge is self:
                _bridge = None
        self._router.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _together(task: BridgeTask, made: list[Part], found: list[TaskResult | BaseException]) -> TaskResult:
    """One result of all parts; raises what no result can tell."""
    strange = [one for one in found if isinstance(one, BaseException) and not isinstance(one, JobrunnerError)]
    if strange:
        raise strange[0]
    unknown = [one for one in found if isinstance(one, OutcomeUnknown)]
    if unknown:
        at = ", ".join(dict.fromkeys(one.node_id or "here" for one in unknown))
        known = [one for one in found if isinstance(one, TaskResult)]
        told = "; ".join([*map(str, unknown), *(f"part {one.task_id!r} is {one.status}" for one in known)])
        raise OutcomeUnknown(task.task_id, told, at)
    refused = [one for one in found if isinstance(one, JobrunnerError)]
    if len(refused) == len(found):
        if all(isinstance(one, NotTaken) for one in refused):
            raise NotTaken(task.task_id, {part.task.task_id: str(one) for part, one in zip(made, refused, strict=True)})
        raise refused[0]
    results = [
        one if isinstance(one, TaskResult) else TaskResult(part.task.task_id, Status.FAILED, error=str(one))
        for part, one in zip(made, found, strict=True)
    ]
    return merged(task, made, results)


def _forget() -> None:
    global _bridge, _making, _of_parent
    _of_parent, _bridge = _bridge or _of_parent, None
    _making = threading.Lock()  # the old one may be held by a thread that the copy does not have


if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_forget)
_making = threading.Lock()
_bridge: DistributedBridge | None = None
_of_parent: DistributedBridge | None = None  # kept in forked copies, lest its connections be closed


def get_distributed_bridge(config: str | Path | None = None) -> DistributedBridge:
    """The bridge of this process, made at the first call and after a ``close``; settings are read then, and only then.

    A forked copy of the process makes one of its own.

    ``config`` names the JSON file, which else is found as the program's own is: ``JOBRUNNER_CONFIG``, or
    ``node_config.json`` in the working directory. Raises SettingsError.
    """
    global _bridge
    with _making:
        if _bridge is None:
            _bridge = DistributedBridge(load(config=config).settings)
        return _bridge
