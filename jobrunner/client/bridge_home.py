"""Tasks at home: at the database of this process's settings, run by its nodes, or by this process where none lives."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from jobrunner.client.bridge_nodes import HEALTHY
from jobrunner.client.bridge_values import AvailableNode, BridgeTask, TaskResult, local_time
from jobrunner.client.errors import OutcomeUnknown
from jobrunner.db.notes import CANCEL, WORK
from jobrunner.errors import DatabaseUnavailable, InvalidInput, StateConflict, TaskExists
from jobrunner.handlers import find
from jobrunner.queue import store, views
from jobrunner.queue.task import Status
from jobrunner.queue.views import NodeView, TaskView
from jobrunner.queue.views.shapes import wrapped
from jobrunner.runtime.embedded import Embedded
from jobrunner.settings import Settings
from jobrunner.submission import submit

SOONEST, LATEST = 0.01, 0.25  # seconds between two looks at the database
AWAY = 0.5  # seconds between two tries while the database is away
CANCEL_WITHIN = 5.0  # seconds in which a task that was asked to end may do so
LOOK_AT_NODES = 2.0  # seconds between two looks for a node that would run what is pending
HERE = "here"

T = TypeVar("T")

_of_parents: list[Embedded] = []  # kept in forked copies, lest their connections be closed, which the parent uses


class Home:
    """Opens the database when it is first needed; on SQLite it then belongs to this process until ``close``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._embedded: Embedded | None = None
        self._nodes_at: dict[str, float] = {}  # when somebody last looked for a node that runs tasks of a type

    @property
    def is_open(self) -> bool:
        """Whether this process has the database open."""
        return self._embedded is not None and not self._embedded.inherited

    async def run(
        self, task: BridgeTask, until: float, handed_over: Callable[[], None], *, cancel: bool = False
    ) -> TaskResult:
        """Run it, or wait for it where it is known already, until then (monotonic); ``cancel`` ends it then.

        ``handed_over`` is called once it may be in the queue. Raises InvalidInput, UnknownTaskType, TaskExists,
        OutcomeUnknown, and what opening the database raises.
        """
        home = await asyncio.to_thread(self._open)
        await self._hand_in(home, task, until, handed_over)
        told = await self._followed(home, task, until)
        if cancel and not told.ended:
            await self._patiently(home, task, until, lambda: self._cancel(home, task.task_id))
            told = await self._followed(home, task, time.monotonic() + CANCEL_WITHIN)
        if told.ended:
            return told
        doing = await asyncio.to_thread(self._doing, home, told)
        return replace(told, error=f"{doing} after the {task.timeout:g} s that its caller gave it")

    def nodes(self) -> list[AvailableNode]:
        """The living nodes of a shared database, healthy ones only; none where each process has its own."""
        if not self._settings.database_url or self._settings.is_sqlite:
            return []
        return [_available(view) for view in _alive(self._open()) if view.state == "active"]

    def close(self) -> None:
        """End what this process runs of it, in good order."""
        with self._opening:
            embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.close()

    def _open(self) -> Embedded:
        with self._opening:
            if self._embedded is not None and self._embedded.inherited:
                _of_parents.append(self._embedded)
                self._embedded = None
            if self._embedded is None:
                self._embedded = Embedded(self._settings)
            return self._embedded

    async def _hand_in(self, home: Embedded, task: BridgeTask, until: float, handed_over: Callable[[], None]) -> None:
        def act() -> None:
            try:
                self._submit(home, task)
            except (InvalidInput, TaskExists):  # refused before anything was stored
                raise
            except BaseException:
                handed_over()
                raise

        try:
            await self._patiently(home, task, until, act)
        except (InvalidInput, TaskExists):
            raise
        except BaseException:  # also a caller that is cancelled: the thread goes on
            handed_over()
            raise
        handed_over()

    async def _patiently(self, home: Embedded, task: BridgeTask, until: float, act: Callable[[], T]) -> T:
        """Do what may be done twice, again for as long as the database is away; raises OutcomeUnknown in the end."""
        while True:
            try:
                return await asyncio.to_thread(act)
            except DatabaseUnavailable as error:
                if self._embedded is not home:
                    raise OutcomeUnknown(task.task_id, "the bridge was closed meanwhile", HERE) from error
                if time.monotonic() >= until:
                    raise OutcomeUnknown(task.task_id, f"the database is away: {error}", HERE) from error
            await asyncio.sleep(AWAY)

    def _submit(self, home: Embedded, task: BridgeTask) -> None:
        _work_where_nobody_does(home, task)
        options = {"task_id": task.task_id, "priority": task.priority, "timeout": task.timeout}
        allowed = self._settings.allow_unknown_types
        with home.database.begin() as conn:
            submit(conn, task.task_type, task.task_data, allow_unknown=allowed, **options)
        home.hint(WORK)

    async def _followed(self, home: Embedded, task: BridgeTask, until: float) -> TaskResult:
        pause = SOONEST
        while True:
            told = await self._patiently(home, task, until, lambda: self._look(home, task.task_id))
            moment = time.monotonic()
            if told.ended or moment >= until:
                return told
            # The node that runs it, or would have, may have died: then nobody takes it back.
            if moment >= self._nodes_at.get(task.task_type, 0.0) + LOOK_AT_NODES:
                self._nodes_at[task.task_type] = moment
                await self._patiently(home, task, until, lambda: _work_where_nobody_does(home, task))
            await asyncio.sleep(min(pause, until - moment))
            pause = min(LATEST, 1.5 * pause)

    def _look(self, home: Embedded, task_id: str) -> TaskResult:
        with home.database.read(own=True) as conn:
            view = views.task(conn, task_id)
        theirs = not self._settings.is_sqlite and view.node_id != home.node_id
        return _result(view, view.node_id if theirs else None)

    @staticmethod
    def _doing(home: Embedded, told: TaskResult) -> str:
        if told.status == Status.PENDING:
            return "still waits here"
        if told.node_id is None:
            return "still runs here"
        with suppress(DatabaseUnavailable):  # then what it told last stands
            if all(node.id != told.node_id for node in _alive(home)):
                return f"its node {told.node_id!r} is silent, and nobody has taken it over"
        return f"still runs at node {told.node_id!r}"

    @staticmethod
    def _cancel(home: Embedded, task_id: str) -> None:
        with home.database.begin() as conn:
            try:
                store.cancel(conn, task_id, "its caller's time was over")
            except StateConflict:  # it ended in time after all
                return
        home.hint(CANCEL)


def _work_where_nobody_does(home: Embedded, task: BridgeTask) -> None:
    """Become a node where none that lives takes such tasks, and this process knows their type."""
    handler = find(task.task_type)
    if handler is None or home.works:
        return
    if not any(_takes(node, handler.name, handler.queue) for node in _alive(home)):
        home.work()


def _takes(node: NodeView, task_type: str, queue: str) -> bool:
    of_queue = node.queues is None or queue in node.queues
    return of_queue and task_type in (node.types or ()) and node.drain_requested_at is None


def _alive(home: Embedded) -> list[NodeView]:
    with home.database.read() as conn:
        return views.all_nodes(conn, alive_only=True)


def _result(view: TaskView, node_id: str | None) -> TaskResult:
    return TaskResult(
        task_id=view.task_id,
        status=view.status,
        result=wrapped(view.result),
        error=view.error,
        execution_time=view.execution_time,
        started_at=local_time(view.started_at),
        completed_at=local_time(view.finished_at),
        node_id=node_id,
    )


def _available(view: NodeView) -> AvailableNode:
    now = datetime.now(view.started_at.tzinfo)
    return AvailableNode(
        node_id=view.id,
        node_name=view.name,
        address=None,
        status=HEALTHY,
        cpu_percent=view.cpu_percent,
        memory_percent=view.memory_percent,
        active_tasks=view.running,
        completed_tasks=view.completed,
        failed_tasks=view.failed,
        uptime_seconds=(now - view.started_at).total_seconds(),
        last_heartbeat=local_time(view.heartbeat_at),
        capabilities=tuple(view.types or ()),
    )
