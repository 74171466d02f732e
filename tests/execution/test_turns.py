"""How attempts in children take turns: begun by a call, ended by a call, and the next one begun from within that."""

from __future__ import annotations

import asyncio
import time

import pytest

from jobrunner.execution.children import ChildPool
from jobrunner.handlers import get
from jobrunner.queue.task import Ending, Outcome, Task
from tests.execution.harness import PATIENT, QUICK, Told, begin, go, make_task, opened, until


class Turns:
    """Gathers what attempts came to, and begins the next one from within the call that tells so."""

    def __init__(self, pool: ChildPool, *following: Task) -> None:
        self._pool = pool
        self._following = list(following)
        self.outcomes: dict[int, Outcome] = {}
        self.free: list[int] = []

    def begin(self, task: Task) -> None:
        self._pool.begin(task, get(task.task_type), Told(), self._done)

    def _done(self, task: Task, outcome: Outcome) -> None:
        self.free.append(self._pool.free())
        self.outcomes[task.lease.id] = outcome
        if self._following:
            self.begin(self._following.pop(0))


def test_the_next_task_begins_from_within_the_end_of_the_last() -> None:
    async def run() -> Turns:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            turns = Turns(pool, *(make_task("add", {"a": row}, row=row) for row in range(2, 51)))
            turns.begin(make_task("add", {"a": 1}, row=1))
            await until(lambda: len(turns.outcomes) == 50)
            return turns

    turns = go(run())
    assert {row: outcome.result for row, outcome in turns.outcomes.items()} == {
        row: str(row + 1) for row in range(1, 51)
    }
    assert turns.free == [1] * 50


def test_more_tasks_than_children_wait_for_their_turn() -> None:
    async def run() -> dict[int, Outcome]:
        async with opened(ChildPool(2, grace=QUICK)) as pool:
            turns = Turns(pool)
            for row in range(1, 9):
                turns.begin(make_task("noop", row=row))
            await until(lambda: len(turns.outcomes) == 8)
            assert len(pool._alive) <= 2
            return turns.outcomes

    assert {outcome.ending for outcome in go(run()).values()} == {Ending.COMPLETED}


def test_one_that_is_stopped_while_it_waits_never_runs_and_ends_after_the_stop() -> None:
    async def run() -> tuple[bool, Turns]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            turns = Turns(pool)
            turns.begin(make_task("sleep", {"seconds": 0.3}, row=1))
            turns.begin(make_task("die", {"how": "kill"}, row=2))
            turns.begin(make_task("noop", row=3))
            assert pool.stop(2, Ending.RELEASED)
            within = 2 in turns.outcomes
            await until(lambda: len(turns.outcomes) == 3)
            return within, turns

    within, turns = go(run())
    assert not within
    assert [(row, outcome.ending) for row, outcome in turns.outcomes.items()] == [
        (2, Ending.RELEASED),
        (1, Ending.COMPLETED),
        (3, Ending.COMPLETED),
    ]


def test_a_pool_that_closes_gives_back_what_waits_and_what_still_comes() -> None:
    async def run() -> dict[int, Outcome]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            turns = Turns(pool, make_task("noop", row=3), make_task("noop", row=4))
            turns.begin(make_task("ignore_term", row=1))
            turns.begin(make_task("noop", row=2))
        return turns.outcomes

    outcomes = go(run())
    assert {row: outcome.ending for row, outcome in outcomes.items()} == dict.fromkeys(range(1, 5), Ending.RELEASED)


@pytest.mark.parametrize("timeouts", [pytest.param((0.3, 0.9, 60.0), marks=pytest.mark.ci), (60.0, 0.9, 0.3)])
def test_each_attempt_has_its_own_deadline(timeouts: tuple[float, ...]) -> None:
    async def run() -> list[tuple[Outcome, float]]:
        async with opened(ChildPool(3, grace=QUICK)) as pool:
            pool.warm()
            await until(lambda: len(pool._idle) == 3)
            rows = range(1, 4)
            started = time.monotonic()
            running = [
                asyncio.create_task(
                    _timed(pool, make_task("sleep", {"seconds": 3.0}, row=row, timeout=timeout), started)
                )
                for row, timeout in zip(rows, timeouts, strict=True)
            ]
            return await asyncio.gather(*running)

    for timeout, (outcome, took) in zip(timeouts, go(run()), strict=True):
        assert outcome.ending is (Ending.COMPLETED if timeout == 60.0 else Ending.TIMEOUT)
        assert took >= min(timeout, 3.0)
        assert took < 2.9 or timeout == 60.0


async def _timed(pool: ChildPool, task: Task, started: float) -> tuple[Outcome, float]:
    outcome = await pool.run(task, get(task.task_type), Told())
    return outcome, time.monotonic() - started


def test_a_deadline_holds_after_quicker_ones_were_met_and_passed() -> None:
    async def run() -> list[Outcome]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await pool.run(make_task("noop", timeout=0.8), get("noop"), Told())
            return [
                await pool.run(make_task("sleep", {"seconds": 60.0}, timeout=timeout), get("sleep"), Told())
                for timeout in (0.2, 1.0)
            ]

    assert [outcome.ending for outcome in go(run())] == [Ending.TIMEOUT, Ending.TIMEOUT]


def test_a_time_out_hurries_one_that_was_asked_to_end() -> None:
    async def run() -> tuple[Outcome, float]:
        async with opened(ChildPool(1, grace=PATIENT)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            running = await begin(pool, make_task("sleep", {"seconds": 60.0}, timeout=0.5))
            await asyncio.sleep(0.1)
            started = time.monotonic()
            pool.stop(1, Ending.CANCELLED)
            return await running, time.monotonic() - started

    outcome, took = go(run())
    assert outcome.ending is Ending.CANCELLED
    assert took < 8.0
