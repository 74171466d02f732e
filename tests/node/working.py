"""A real worker in a thread of the test's process, on a real database, with pools as small as the test wants."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func, select

from jobrunner.db.engine import Database
from jobrunner.db.tables import tasks
from jobrunner.execution.inline import AsyncPool
from jobrunner.execution.threads import ThreadPool
from jobrunner.handlers import registry
from jobrunner.node.held import Held
from jobrunner.node.host import Host
from jobrunner.node.state import Identity, State
from jobrunner.node.worker import Limits, Worker
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.node import waiting_tasks

LEASE = 60.0


class Working:
    """The worker, what it holds, and how it stands."""

    def __init__(self, database: Database, slots: Mapping[str, int], **limits: Any) -> None:
        known = {name: one for name, one in registry.handlers().items() if name.startswith("node.")}
        self.held = Held()
        self.state = State()
        identity = Identity("n", slots=1, types=tuple(known), queues=None, address=None, heartbeat_interval=10.0)
        told = {"queues": None, "poll_interval": 30.0, "grace": 5.0, "max_memory_mb": None, "max_cpu_percent": None}
        pools = [AsyncPool(slots.get("async", 100)), ThreadPool(slots.get("inline", 4))]
        self.worker = Worker(
            database,
            identity,
            self.state,
            self.held,
            Host(tempfile.gettempdir()),
            pools,
            known,
            Limits(**{**told, "lease_seconds": LEASE, **limits}),
        )
        self._database = database
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker under test")

    def _run(self) -> None:
        try:
            asyncio.run(self.worker.run())
        except BaseException as error:
            self._failure = error

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Drain, and wait for the end; raises what broke the worker."""
        self.worker.drain("the test ends")
        self._thread.join(30)
        assert not self._thread.is_alive(), "the worker does not end"
        if self._failure is not None:
            raise self._failure

    def submit(self, count: int, task_type: str, *, wake: bool = True, **options: Any) -> list[str]:
        """Enqueue so many in one transaction, and by default hint; ``payload`` and other options as in new_task."""
        ids = submit(self._database, count, task_type, **options)
        if wake:
            self.worker.wake()
        return ids


def submit(database: Database, count: int, task_type: str, **options: Any) -> list[str]:
    """Enqueue so many in one transaction."""
    payload = options.pop("payload", {})
    made = [new_task(task_type, payload, **options) for _ in range(count)]
    with database.begin() as conn:
        return [one.task_id for one in store.enqueue_many(conn, made)]


@contextmanager
def working(database: Database, *, start: bool = True, **given: Any) -> Iterator[Working]:
    """A worker that works inside the block. ``inline`` and ``async_`` are slots, all else as in Limits."""
    slots = {"inline": given.pop("inline", 4), "async": given.pop("async_", 100)}
    made = Working(database, slots, **given)
    if start:
        made.start()
    try:
        yield made
    finally:
        waiting_tasks.open_all()
        made.stop()


def statuses(database: Database) -> Counter[str]:
    """How many tasks have each status."""
    with database.read() as conn:
        found = conn.execute(select(tasks.c.status, func.count()).group_by(tasks.c.status))
        return Counter({str(row[0]): int(row[1]) for row in found})


def until(true: Callable[[], bool], what: str, within: float = 10.0) -> float:
    """Wait until something is so; returns the seconds that it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < within, f"not within {within:g} s: {what}"
        time.sleep(0.005)
    return time.monotonic() - begun
