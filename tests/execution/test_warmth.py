"""When children are started and replaced: not before somebody needs them, and not more often than they must."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from jobrunner.execution import process
from jobrunner.execution.children import FIRST_TASKS, ChildPool
from jobrunner.execution.posix import peak_memory
from jobrunner.handlers import get, registry
from jobrunner.queue.task import Ending, Outcome
from tests.execution.harness import QUICK, Told, go, make_task, opened, until


async def _run(pool: ChildPool, name: str, **payload: object) -> Outcome:
    return await pool.run(make_task(name, payload), get(name), Told())


def test_no_child_is_started_before_there_is_a_task_and_then_only_what_it_needs() -> None:
    async def run() -> list[int]:
        alive = []
        async with opened(ChildPool(3, grace=QUICK)) as pool:
            await asyncio.sleep(0.3)
            alive.append(len(pool._alive))
            await _run(pool, "noop")
            await asyncio.sleep(0.3)
            alive.append(len(pool._alive))
        return alive

    assert go(run()) == [0, 1]


def test_so_many_children_as_are_asked_for_are_warmed_up() -> None:
    async def run() -> None:
        async with opened(ChildPool(3, grace=QUICK)) as pool:
            pool.warm(2)
            await until(lambda: len(pool._idle) == 2)
            await asyncio.sleep(0.3)
            assert len(pool._alive) == 2
            pool.warm(99)
            await until(lambda: len(pool._idle) == 3)
            await asyncio.sleep(0.3)
            assert len(pool._alive) == 3

    go(run())


def test_nothing_is_warmed_up_for_handlers_that_run_elsewhere() -> None:
    async def run() -> int:
        with registry.isolated():
            async with opened(ChildPool(1, grace=QUICK)) as pool:
                pool.warm()
                await asyncio.sleep(0.3)
                return len(pool._alive)

    assert go(run()) == 0


def test_a_child_that_was_used_up_is_replaced_before_the_next_task_comes() -> None:
    async def run() -> None:
        async with opened(ChildPool(1, child_max_tasks=1, grace=QUICK)) as pool:
            await _run(pool, "noop")
            await until(lambda: len(pool._idle) == 1)
            assert pool._idle[0].tasks == 0

    go(run())


def test_a_child_that_grows_and_grows_is_replaced() -> None:
    much = 2 * peak_memory() // 2**20 + 100  # a child's peak begins at that of who started it

    async def run() -> list[str | None]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            for _ in range(FIRST_TASKS):
                await _run(pool, "noop")
            found = [(await _run(pool, "hoard", mb=mb)).result for mb in (30, much, 0)]
            return [*found, (await _run(pool, "pid")).result]

    before, last, after, again = go(run())
    assert before == last != after == again


def test_what_a_child_holds_since_its_first_tasks_is_no_growth() -> None:
    async def run() -> list[str | None]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            return [
                (await _run(pool, name, **payload)).result for name, payload in (("hoard", {"mb": 200}), ("pid", {}))
            ]

    first, second = go(run())
    assert first == second


def test_a_task_that_comes_while_an_idle_child_dies_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "sweep", lambda mark: time.sleep(0.3))

    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await _run(pool, "noop")
            [child] = pool._idle
            os.kill(child.pid, signal.SIGKILL)
            await until(lambda: child.condemned)
            assert not child.gone.done()
            return await asyncio.wait_for(_run(pool, "noop"), 10)

    assert go(run()).ending is Ending.COMPLETED


def test_children_do_not_load_what_only_our_own_handlers_need() -> None:
    loaded = get("loaded")
    names = ["jobrunner.data_import", "sqlalchemy", "jobrunner.handlers"]

    async def run() -> Outcome:
        with registry.isolated():  # other tests have handlers that need more
            registry.import_handlers("tests.execution.sample_tasks")
            registry.import_handlers("jobrunner.data_import")
            async with opened(ChildPool(1, grace=QUICK)) as pool:
                return await pool.run(make_task("loaded", {"names": names}), loaded, Told())

    assert go(run()).result == '["jobrunner.handlers"]'
