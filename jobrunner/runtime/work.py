"""The working half of a process: heartbeat, pools and worker, put together and run in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.execution import interpreter
from jobrunner.execution.children import ChildPool
from jobrunner.execution.inline import AsyncPool
from jobrunner.execution.pool import Pool
from jobrunner.execution.threads import ThreadPool
from jobrunner.handlers import Handler, handlers
from jobrunner.logs import get_logger
from jobrunner.node.heartbeat import Heartbeat
from jobrunner.node.held import Held
from jobrunner.node.host import Host
from jobrunner.node.state import Identity, PoolFacts, State
from jobrunner.node.worker import Limits, Worker
from jobrunner.queue import store
from jobrunner.queue.task import Task
from jobrunner.settings import Settings
from jobrunner.settings.children import child_environment

TOLD = 500  # names in one line of the log
WRITERS = ("settle", "effects")  # what their threads' names begin with
CONNECTIONS = 2  # claim, settle and duties take turns, an effect opens one more; heartbeat and hints have one each

log = get_logger(__name__)


class Work:
    """Everything that makes a process a worker."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        ends: Ends,
        address: str | None,
        limits: Limits,
        ended: Callable[[], None],
    ) -> None:
        known = handlers()
        self.state = State()
        self._settings = settings
        self._database = database
        self._beating = Database(settings.url, pool_size=1) if not database.is_sqlite else database
        self._held = Held()
        self._ended = ended
        host = Host(settings.data_dir)
        self._children = _children(settings)
        pools: list[Pool] = [
            AsyncPool(settings.max_async, task_timeout=settings.task_timeout),
            ThreadPool(settings.max_workers, task_timeout=settings.task_timeout),
            self._children,
        ]
        self.identity = Identity(
            name=settings.name,
            slots=settings.max_workers,
            types=tuple(sorted(known)),
            queues=limits.queues,
            address=address,
            heartbeat_interval=settings.heartbeat_interval,
            pools=tuple(PoolFacts(pool.slots, _of_kind(pool.kind, known)) for pool in pools),
        )
        self._worker = Worker(database, self.identity, self.state, self._held, host, pools, known, limits, ends)
        self.heartbeat = Heartbeat(
            self._beating,
            self.identity,
            self.state,
            self._held,
            host,
            lease_seconds=settings.lease_seconds,
            types=[_published(handler) for handler in known.values()],
            renewed=self._worker.renewed,
            drains=self._worker.rest,
        )
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self.failed = False

    def start(self) -> None:
        """Register the node and begin to work."""
        self.heartbeat.start()
        self._thread.start()

    def wake(self) -> None:
        """There may be work."""
        self._worker.wake()

    def heard_of_work(self) -> None:
        """The same, said by another process; may take a claim's time."""
        self._worker.heard_of_work()

    def drain(self, reason: str, *, hurry: bool = False) -> None:
        """Stop claiming and end in good order."""
        self._worker.drain(reason, hurry=hurry)

    def alive(self) -> bool:
        """Whether the worker's loop still runs."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for the end of the worker's loop, so long at most."""
        self._thread.join(seconds)

    def writes(self) -> bool:
        """Whether outcomes or effects are still on their way into the database, on a link that is dead for all we know.

        Python would wait for their threads: 60 s for an effect's.
        """
        until = time.monotonic() + 1.0
        for thread in threading.enumerate():
            if thread.name.startswith(WRITERS):
                thread.join(max(0.0, until - time.monotonic()))
        return any(thread.name.startswith(WRITERS) for thread in threading.enumerate())

    def stalled(self) -> bool:
        """Whether a handler holds the worker's loop, so that nothing in it can be asked to end."""
        return self._worker.stalled()

    def close(self, reason: str) -> int:
        """Say goodbye. Gives back, uncharged, what a stuck loop still holds. Returns the exit code."""
        self._thread.join(timeout=1)
        if self.alive():
            self._children.sweep()  # before their tasks are anybody else's
        self.heartbeat.stop(reason)
        holding = self._held.tasks()
        if holding:
            try:
                with self._database.begin() as conn:
                    store.release(conn, holding, reason)
            except DatabaseUnavailable as error:
                self._tell_of_leases(holding, str(error))
        if self._beating is not self._database:
            self._beating.dispose()
        return 1 if self.failed else self._worker.exit_code

    def _tell_of_leases(self, holding: Sequence[Task], error: str) -> None:
        """All of them run again, also those whose work is done: who reads this may want to look at them."""
        leases = {task.lease for task in self._worker.unrecorded()}
        ended = [task.task_id for task in holding if task.lease in leases]
        others = [task.task_id for task in holding if task.lease not in leases]
        log.warning(
            "leases are left to expire: these tasks will run again",
            count=len(holding),
            ended_but_not_recorded=ended[:TOLD],
            not_ended=others[:TOLD],
            error=error,
        )

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except Exception as error:
            self.failed = True
            if interpreter.ends():
                log.debug("the worker ends with its program", error=str(error))
            else:
                log.exception("the worker broke")
        finally:
            self._ended()

    async def _work(self) -> None:
        try:
            await self._worker.run()
        finally:  # before asyncio waits for coroutines that ignore their cancellation
            self._ended()


def _of_kind(kind: str, known: dict[str, Handler]) -> tuple[str, ...]:
    return tuple(sorted(name for name, handler in known.items() if handler.kind == kind))


def _children(settings: Settings) -> ChildPool:
    return ChildPool(
        settings.max_workers,
        task_timeout=settings.task_timeout,
        child_max_tasks=settings.child_max_tasks,
        log_level=settings.log_level,
        environ=child_environment(settings),
    )


def _published(handler: Handler) -> dict[str, Any]:
    return {
        "name": handler.name,
        "schema": json.dumps(handler.schema()),
        "queue": handler.queue,
        "priority": handler.priority,
        "max_attempts": handler.max_attempts,
        "timeout": handler.timeout,
        "description": handler.description,
    }
