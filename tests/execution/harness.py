"""Runs sample tasks through real pools, and gathers what they report."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from jobrunner.errors import DatabaseUnavailable, LeaseLost
from jobrunner.execution.children import ChildPool
from jobrunner.execution.pool import Grace, Pool
from jobrunner.handlers import get, registry
from jobrunner.queue.task import Ending, Lease, LogLine, Outcome, Task
from tests.execution import sample_tasks, worst_tasks  # noqa: F401  register the handlers

P = TypeVar("P", bound=Pool)
QUICK = Grace(ask=0.2, term=0.5, memory=0.2)
PATIENT = Grace(ask=20.0, term=20.0, memory=20.0)  # what ends sooner ended by itself
SOON = 8.0  # seconds: far from what PATIENT grants, and enough for a machine with much else to do


class Told:
    """Everything that attempts reported.

    ``lost`` makes every effect fail as if the lease were, ``away`` as if the database were, ``slow`` (s) late.
    """

    def __init__(self, url: str | None = None, *, lost: bool = False, away: bool = False, slow: float = 0.0) -> None:
        self.database_url = url
        self._lost = lost
        self._away = away
        self._slow = slow
        self.progressed: list[tuple[float | None, str]] = []
        self.lines: list[LogLine] = []
        self.applied: list[tuple[str, list[Any]]] = []
        self.threads: set[int] = set()

    def progress(self, lease: Lease, fraction: float | None, message: str) -> None:
        self.progressed.append((fraction, message))

    def logs(self, lease: Lease, lines: list[LogLine]) -> None:
        self.lines += lines

    def apply(self, lease: Lease, effect: str, rows: list[Any]) -> Any:
        self.threads.add(threading.get_ident())
        time.sleep(self._slow)
        if self._lost:
            raise LeaseLost("taken by another")
        if self._away:
            raise DatabaseUnavailable("no answer")
        self.applied.append((effect, rows))
        return registry.get_effect(effect)(None, rows)

    def said(self, level: str | None = None) -> list[str]:
        return [line.message for line in self.lines if level in (None, line.level)]


def make_task(task_type: str, payload: dict[str, Any] | str | None = None, *, row: int = 1, **facts: Any) -> Task:
    text = payload if isinstance(payload, str) else json.dumps(payload or {})
    known: dict[str, Any] = {
        "lease": Lease(row, f"token-{row}", 1),
        "task_id": f"task-{row}",
        "task_type": task_type,
        "payload": text,
        "queue": "default",
        "priority": 5,
        "generation": 1,
        "timeout": 20.0,
        "max_attempts": 3,
        "failures": 0,
        "crashes": 0,
        "snoozes": 0,
    }
    return Task(**{**known, **facts})


@asynccontextmanager
async def opened(pool: P) -> AsyncIterator[P]:
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def in_child(
    task_type: str, payload: dict[str, Any] | str | None = None, *, told: Told | None = None, **facts: Any
) -> Outcome:
    """One task in a child of its own."""

    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            return await pool.run(make_task(task_type, payload, **facts), get(task_type), told or Told())

    return asyncio.run(run())


async def begin(pool: Pool, task: Task, told: Told | None = None) -> asyncio.Task[Outcome]:
    return asyncio.create_task(pool.run(task, get(task.task_type), told or Told()))


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)


async def stopped_after(pool: Pool, task: Task, seconds: float, ending: Ending) -> tuple[Outcome, float]:
    """Run, stop after so long, and tell how long the stop took."""
    running = await begin(pool, task)
    await asyncio.sleep(seconds)
    begun = time.monotonic()
    assert pool.stop(task.lease.id, ending)
    outcome = await asyncio.wait_for(running, 10)
    return outcome, time.monotonic() - begun


def go(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pids_in(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()]


def children_of_this_process() -> list[int]:
    return [child.pid for child in psutil.Process(os.getpid()).children() if child.status() != psutil.STATUS_ZOMBIE]
