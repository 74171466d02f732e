"""Handlers inside the worker: async ones in its loop, tiny plain ones in threads, and those that do not let go."""

from __future__ import annotations

import asyncio
import decimal
import json
import logging
import subprocess
import sys
import time
from typing import Any

import pytest

from jobrunner.errors import Cancel, InvalidInput, RetryLater
from jobrunner.execution.attempt import failed
from jobrunner.execution.inline import AsyncPool
from jobrunner.execution.inprocess import InProcessPool
from jobrunner.execution.threads import ThreadPool
from jobrunner.handlers import get
from jobrunner.queue.task import Ending, Outcome
from tests.execution import inprocess_tasks
from tests.execution.harness import PATIENT, QUICK, SOON, Told, begin, go, make_task, opened, stopped_after, until

POOLS: list[type[InProcessPool]] = [AsyncPool, ThreadPool]


@pytest.fixture(params=POOLS)
def pool_class(request: pytest.FixtureRequest) -> type[InProcessPool]:
    inprocess_tasks.LET_GO.clear()
    found: type[InProcessPool] = request.param
    return found


def _run(
    pool_class: type[InProcessPool],
    name: str,
    payload: dict[str, Any] | None = None,
    *,
    told: Told | None = None,
    **facts: Any,
) -> Outcome:
    async def run() -> Outcome:
        async with opened(pool_class(2, grace=QUICK)) as pool:
            task_type = f"{pool.kind} {name}"
            return await pool.run(make_task(task_type, payload, **facts), get(task_type), told or Told())

    outcome: Outcome = go(run())
    return outcome


def test_a_result_comes_back_as_json_text(pool_class: type[InProcessPool]) -> None:
    assert _run(pool_class, "add", {"a": 2}) == Outcome(Ending.COMPLETED, result="3")


def test_the_trace_of_the_request_comes_with_it(pool_class: type[InProcessPool]) -> None:
    assert _run(pool_class, "trace", traceparent="00-x").result == '"00-x"'
    assert _run(pool_class, "trace").result == "null"


def test_bad_arguments_are_refused(pool_class: type[InProcessPool]) -> None:
    assert _run(pool_class, "add", {"a": "x"}).ending is Ending.REFUSED


@pytest.mark.parametrize(
    ("what", "ending", "error_class"),
    [
        ("error", Ending.ERROR, "ValueError"),
        ("exit", Ending.ERROR, "SystemExit"),
        ("interrupt", Ending.ERROR, "KeyboardInterrupt"),
        ("cancelled", Ending.ERROR, "asyncio.exceptions.CancelledError"),
        ("generator", Ending.ERROR, "GeneratorExit"),
        ("later", Ending.RETRY_LATER, None),
        ("cancel", Ending.CANCELLED, None),
        ("unstorable", Ending.ERROR, "InvalidResult"),
    ],
)
def test_every_exception_is_an_outcome(
    pool_class: type[InProcessPool], what: str, ending: Ending, error_class: str | None
) -> None:
    outcome = _run(pool_class, "raise", {"what": what})
    assert (outcome.ending, outcome.error_class) == (ending, error_class)
    if error_class not in (None, "InvalidResult"):
        assert "inprocess_tasks.py" in (outcome.traceback or "")
        assert "jobrunner/execution" not in (outcome.traceback or "")


def test_what_it_says_is_kept_and_nobody_elses_words(pool_class: type[InProcessPool]) -> None:
    first, second = Told(), Told()

    async def run() -> None:
        async with opened(pool_class(2, grace=QUICK)) as pool:
            name = f"{pool.kind} talk"
            await asyncio.gather(
                pool.run(make_task(name, {"word": "one"}, row=1), get(name), first),
                pool.run(make_task(name, {"word": "two"}, row=2), get(name), second),
            )
            logging.getLogger("worker").warning("not of a task")

    go(run())
    for told, word in ((first, "one"), (second, "two")):
        assert [(line.level, line.message) for line in told.lines] == [("warning", f"logged {word}"), ("info", word)]
        assert told.progressed[-1] == (1.0, word)


def test_a_flood_of_words_is_cut(pool_class: type[InProcessPool]) -> None:
    told = Told()
    assert _run(pool_class, "flood", told=told).ending is Ending.COMPLETED
    assert len(told.lines) == 1_001
    assert told.lines[-1].message == "1000 more lines of log were dropped"


def test_a_timeout_that_is_heeded_frees_the_slot(pool_class: type[InProcessPool]) -> None:
    async def run() -> tuple[Outcome, float, int]:
        async with opened(pool_class(1, grace=PATIENT)) as pool:
            name = f"{pool.kind} watch"
            begun = time.monotonic()
            outcome = await pool.run(make_task(name, timeout=0.2), get(name), Told())
            return outcome, time.monotonic() - begun, pool.free()

    outcome, took, free = go(run())
    assert outcome.ending is Ending.TIMEOUT
    assert outcome.error == "did not end within 0.2 s"
    assert 0.2 <= took < SOON
    assert free == 1


def test_a_timeout_that_is_ignored_settles_and_keeps_the_slot_until_it_really_ends(
    pool_class: type[InProcessPool],
) -> None:
    async def run() -> tuple[Outcome, list[tuple[int, int]]]:
        counts = []
        async with opened(pool_class(2, grace=QUICK)) as pool:
            name = f"{pool.kind} ignore"
            outcome = await pool.run(make_task(name, timeout=0.1), get(name), Told())
            counts.append((pool.free(), pool.stuck()))
            add = f"{pool.kind} add"
            assert (await pool.run(make_task(add, {"a": 1}, row=2), get(add), Told())).result == "2"
            inprocess_tasks.LET_GO.set()
            await until(lambda: pool.stuck() == 0)
            counts.append((pool.free(), pool.stuck()))
        return outcome, counts

    outcome, counts = go(run())
    assert outcome.ending is Ending.TIMEOUT
    assert "keeps its slot" in (outcome.error or "")
    assert counts == [(1, 1), (2, 0)]


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.LOST, Ending.RELEASED])
def test_a_stop_is_seen(pool_class: type[InProcessPool], ending: Ending) -> None:
    async def run() -> tuple[Outcome, float]:
        async with opened(pool_class(1, grace=PATIENT)) as pool:
            return await stopped_after(pool, make_task(f"{pool.kind} watch"), 0.1, ending)

    outcome, took = go(run())
    assert outcome.ending is ending
    assert took < SOON


def test_a_stop_that_is_ignored_gives_the_attempt_up(pool_class: type[InProcessPool]) -> None:
    async def run() -> tuple[Outcome, float, int]:
        async with opened(pool_class(1, grace=QUICK)) as pool:
            outcome, took = await stopped_after(pool, make_task(f"{pool.kind} ignore"), 0.1, Ending.CANCELLED)
            stuck = pool.stuck()
            inprocess_tasks.LET_GO.set()
            return outcome, took, stuck

    outcome, took, stuck = go(run())
    assert outcome.ending is Ending.CANCELLED
    assert QUICK.ask <= took < SOON
    assert stuck == 1


def test_what_completes_without_seeing_its_release_is_completed(pool_class: type[InProcessPool]) -> None:
    async def run() -> Outcome:
        async with opened(pool_class(1)) as pool:
            outcome, _ = await stopped_after(pool, make_task(f"{pool.kind} nap"), 0.05, Ending.RELEASED)
            return outcome

    assert go(run()).ending is Ending.COMPLETED


def test_given_up_attempts_are_heard_no_more(pool_class: type[InProcessPool]) -> None:
    told = Told()

    async def run() -> None:
        async with opened(pool_class(1, grace=QUICK)) as pool:
            name = f"{pool.kind} ignore"
            await pool.run(make_task(name, timeout=0.1), get(name), told)
            inprocess_tasks.LET_GO.set()
            await until(lambda: pool.stuck() == 0)

    go(run())
    assert told.lines == []
    assert inprocess_tasks.AFTERWARDS[-1] == "LeaseLost"


def test_a_closed_pool_gives_back_what_still_runs(pool_class: type[InProcessPool]) -> None:
    async def run() -> Outcome:
        async with opened(pool_class(1, grace=QUICK)) as pool:
            running = await begin(pool, make_task(f"{pool.kind} watch"))
            await asyncio.sleep(0.1)
        return await running

    assert go(run()).ending is Ending.RELEASED


def test_slots_are_counted(pool_class: type[InProcessPool]) -> None:
    async def run() -> list[int]:
        async with opened(pool_class(2, grace=QUICK)) as pool:
            free = [pool.free()]
            running = await begin(pool, make_task(f"{pool.kind} nap"))
            await asyncio.sleep(0.05)
            free.append(pool.free())
            await running
            return [*free, pool.free()]

    assert go(run()) == [2, 1, 2]


def test_effects_reach_the_worker(pool_class: type[InProcessPool]) -> None:
    told = Told()
    outcome = _run(pool_class, "effects", told=told)
    assert json.loads(outcome.result or "") == {"applied": 2, "transaction": "HandlerError"}
    assert outcome.effects == (("in process", [3]),)
    assert told.applied == [("in process", [1, 2])]
    assert _run(pool_class, "effects", told=Told(lost=True)).ending is Ending.LOST


def test_an_async_handler_may_not_hold_up_the_loop_with_an_effect() -> None:
    told = Told()
    outcome = _run(AsyncPool, "effects in the loop", told=told)
    assert outcome.ending is Ending.ERROR
    assert "asyncio.to_thread" in (outcome.error or "")
    assert told.applied == []


def test_a_timeout_runs_the_finally_blocks_of_an_async_handler() -> None:
    outcome = _run(AsyncPool, "cleanup", timeout=0.1)
    assert outcome.ending is Ending.TIMEOUT
    assert inprocess_tasks.AFTERWARDS[-1] == "cleaned up"
    assert "cleanup" in (outcome.traceback or "")


def test_inline_handlers_leave_the_loop_free() -> None:
    async def run() -> float:
        async with opened(ThreadPool(1, grace=QUICK)) as pool:
            running = await begin(pool, make_task("inline nap", {"seconds": 1.5}))
            latest = time.monotonic()
            longest = 0.0
            while not running.done():
                await asyncio.sleep(0.005)
                now = time.monotonic()
                longest, latest = max(longest, now - latest), now
            return longest

    assert go(run()) < 1.0


_STUCK = """
import asyncio
from jobrunner.execution.threads import ThreadPool
from jobrunner.handlers import get
from tests.execution import inprocess_tasks
from tests.execution.harness import PATIENT, QUICK, SOON, Told, make_task, opened

async def main():
    async with opened(ThreadPool(1, grace=QUICK)) as pool:
        outcome = await pool.run(make_task("inline ignore", timeout=0.1), get("inline ignore"), Told())
        print(outcome.ending, pool.stuck())

asyncio.run(main())
"""


def test_a_stuck_thread_does_not_hold_up_the_exit_of_the_process() -> None:
    begun = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", _STUCK], capture_output=True, text=True, check=True, timeout=20)
    assert ended.stdout.split() == ["timeout", "1"]
    assert ended.stderr == ""
    assert time.monotonic() - begun < 5  # its handler waits for ten seconds


@pytest.mark.parametrize("kind", ["async", "inline"])
def test_a_line_is_kept_once_where_both_ways_are_open(kind: str) -> None:
    told = Told()

    async def run() -> Outcome:
        async with opened(AsyncPool(1, grace=QUICK)) as loop, opened(ThreadPool(1, grace=QUICK)) as threads:
            pool: InProcessPool = loop if kind == "async" else threads
            task_type = f"{kind} talk"
            return await pool.run(make_task(task_type, {"word": "once"}), get(task_type), told)

    assert go(run()).ending is Ending.COMPLETED
    assert told.said("warning") == ["logged once"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("two words"), "KeyError: 'two words'"),
        (SystemExit(0), "SystemExit: 0"),
        (StopIteration(3), "StopIteration: 3"),
        (TimeoutError("late"), "TimeoutError: late"),
        (decimal.InvalidOperation("0/0"), "decimal.InvalidOperation: 0/0"),
        (AssertionError(), "AssertionError"),
        (ValueError("no such luck"), "no such luck"),
        (Cancel("duplicate"), "duplicate"),
        (RetryLater(1.0, "throttled"), "throttled"),
        (InvalidInput("unlisted"), "unlisted"),
    ],
)
def test_an_error_of_less_than_two_words_is_told_behind_its_class(error: BaseException, told: str) -> None:
    assert failed(error).error == told
