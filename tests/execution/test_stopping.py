"""Ending a child for certain: timeouts, stops, memory, and everything that it started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobrunner.execution import child_attempt, posix
from jobrunner.execution.children import ChildPool
from jobrunner.execution.pool import Grace
from jobrunner.handlers import get
from jobrunner.queue.task import Ending, Outcome
from tests.execution.harness import (
    PATIENT,
    QUICK,
    SOON,
    Told,
    begin,
    children_of_this_process,
    go,
    in_child,
    make_task,
    opened,
    pids_in,
    runs,
    stopped_after,
    until,
)

TERM_ONLY = Grace(ask=0.2, term=20.0, memory=20.0)


def test_a_timeout_runs_the_finally_blocks_and_tells_where_it_was(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    outcome = in_child("sleep_and_mark", {"path": str(mark)}, timeout=0.3, failures=1)
    assert outcome.ending is Ending.TIMEOUT
    assert outcome.error == "did not end within 0.3 s"
    assert "sleep_and_mark" in (outcome.traceback or "")
    assert mark.read_text() == "cleaned up"
    assert 0 < outcome.delay <= 4.0


@pytest.mark.parametrize("name", ["hold_the_gil", "ignore_term", "spin", "swallow"])
def test_nothing_outlasts_its_timeout(name: str) -> None:
    async def run() -> tuple[Outcome, float]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            begun = time.monotonic()
            outcome = await pool.run(make_task(name, timeout=0.3), get(name), Told())
            return outcome, time.monotonic() - begun

    outcome, took = go(run())
    assert outcome.ending is Ending.TIMEOUT
    assert outcome.peak_rss is not None
    assert 0.3 <= took < SOON
    if name in ("hold_the_gil", "ignore_term"):
        assert outcome.exit_signal == signal.SIGKILL


@pytest.mark.parametrize("then", ["sleep", "spin", "die", "return"])
def test_everything_that_a_handler_started_ends_with_it(tmp_path: Path, then: str) -> None:
    told = tmp_path / "pids"

    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            task = make_task("family", {"path": str(told), "then": then}, timeout=60.0)
            running = await begin(pool, task)
            await until(Path(f"{told}.ready").exists)
            if then in ("sleep", "spin"):
                assert all(runs(pid) for pid in pids_in(told))
                pool.stop(1, Ending.LOST)
            outcome = await asyncio.wait_for(running, 10)
            await until(lambda: not any(runs(pid) for pid in pids_in(told)))
            return outcome

    outcome = go(run())
    assert len(pids_in(told)) == 5
    wanted = {"die": Ending.CRASHED, "return": Ending.COMPLETED}
    assert outcome.ending is wanted.get(then, Ending.LOST)


def test_processes_that_go_on_starting_others_are_ended_all_the_same(tmp_path: Path) -> None:
    told = tmp_path / "pids"

    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            running = await begin(pool, make_task("fork_bomb", {"path": str(told)}))
            await until(lambda: told.exists() and len(pids_in(told)) >= 10)
            pool.stop(1, Ending.LOST)
            return await running

    assert go(run()).ending is Ending.LOST
    assert not any(runs(pid) for pid in pids_in(told))


def test_a_process_that_a_handler_left_behind_does_not_outlive_its_task() -> None:
    async def run() -> tuple[Outcome, bool]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            outcome = await pool.run(make_task("leave_process"), get("leave_process"), Told())
            left = int(outcome.result or 0)
            await until(lambda: not runs(left))
            again = await pool.run(make_task("add", {"a": 1}), get("add"), Told())
            return outcome, again.ending is Ending.COMPLETED

    outcome, goes_on = go(run())
    assert outcome.ending is Ending.COMPLETED
    assert goes_on


def test_a_cancel_is_seen_by_the_handler_before_anything_is_done_to_it() -> None:
    async def run() -> tuple[Outcome, float, str | None, str | None]:
        async with opened(ChildPool(1, grace=PATIENT)) as pool:
            before = await pool.run(make_task("pid"), get("pid"), Told())
            outcome, took = await stopped_after(pool, make_task("watch"), 0.2, Ending.CANCELLED)
            after = await pool.run(make_task("pid"), get("pid"), Told())
            return outcome, took, before.result, after.result

    outcome, took, before, after = go(run())
    assert outcome.ending is Ending.CANCELLED
    assert took < SOON
    assert before == after  # nothing was done to it, so it is used again


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.LOST, Ending.RELEASED, Ending.OUT_OF_MEMORY])
def test_a_stop_ends_what_does_not_look(ending: Ending) -> None:
    async def run() -> tuple[Outcome, float]:
        async with opened(ChildPool(1, grace=TERM_ONLY)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            return await stopped_after(pool, make_task("sleep", {"seconds": 60}), 0.1, ending)

    outcome, took = go(run())
    assert outcome.ending is ending
    assert outcome.error
    assert "in sleep" in (outcome.traceback or "")
    assert took < SOON


def test_a_handler_that_took_the_signal_does_not_shield_the_next() -> None:
    async def run() -> tuple[Outcome, float]:
        async with opened(ChildPool(1, grace=TERM_ONLY)) as pool:
            await pool.run(make_task("take_signal"), get("take_signal"), Told())
            return await stopped_after(pool, make_task("sleep", {"seconds": 60}), 0.1, Ending.LOST)

    outcome, took = go(run())
    assert outcome.ending is Ending.LOST
    assert took < SOON


def test_what_does_not_even_end_when_killed_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_attempt, "KILL_TIMEOUT", 0.3)

    async def run() -> tuple[Outcome, Outcome]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            with monkeypatch.context() as deaf:  # as in the kernel: no signal does anything
                deaf.setattr(posix, "signal_group", lambda leader, *, kill: None)
                hung, _ = await stopped_after(pool, make_task("ignore_term"), 0.1, Ending.CANCELLED)
            return hung, await pool.run(make_task("add", {"a": 1}, row=2), get("add"), Told())

    hung, after = go(run())
    assert hung.ending is Ending.CANCELLED
    assert "does not even end when killed" in (hung.error or "")
    assert after.ending is Ending.COMPLETED


def test_a_stop_for_the_same_reason_again_changes_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=TERM_ONLY)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            running = await begin(pool, make_task("tidy_slowly", {"path": str(mark)}))
            await asyncio.sleep(0.2)
            while not running.done():
                pool.stop(1, Ending.CANCELLED)
                await asyncio.sleep(0.02)
            return await running

    assert go(run()).ending is Ending.CANCELLED
    assert mark.read_text() == "tidy"


def test_a_stop_for_another_reason_hurries() -> None:
    async def run() -> tuple[Outcome, float]:
        async with opened(ChildPool(1, grace=PATIENT)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            running = await begin(pool, make_task("ignore_term"))
            await asyncio.sleep(0.2)
            begun = time.monotonic()
            for ending in (Ending.RELEASED, Ending.LOST, Ending.CANCELLED):
                assert pool.stop(1, ending)
            return await running, time.monotonic() - begun

    outcome, took = go(run())
    assert outcome.ending is Ending.RELEASED
    assert took < SOON


def test_what_completes_without_seeing_its_release_is_completed() -> None:
    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=PATIENT)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            outcome, _ = await stopped_after(pool, make_task("sleep", {"seconds": 0.3}), 0.1, Ending.RELEASED)
            return outcome

    assert go(run()) == Outcome(Ending.COMPLETED, result='"slept"')


def test_what_saw_its_release_is_released() -> None:
    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=PATIENT)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            outcome, _ = await stopped_after(pool, make_task("watch"), 0.1, Ending.RELEASED)
            return outcome

    assert go(run()).ending is Ending.RELEASED


def test_a_stop_before_there_is_a_child_needs_none() -> None:
    async def run() -> tuple[Outcome, float]:
        async with opened(ChildPool(1)) as pool:
            return await stopped_after(pool, make_task("noop"), 0.0, Ending.CANCELLED)

    outcome, _ = go(run())
    assert outcome == Outcome(Ending.CANCELLED, error="cancelled while it ran")


def test_nothing_runs_nothing_is_stopped() -> None:
    async def run() -> bool:
        async with opened(ChildPool(1)) as pool:
            return pool.stop(77, Ending.CANCELLED)

    assert go(run()) is False


def test_a_term_from_elsewhere_is_not_the_workers_word() -> None:
    async def run() -> Outcome:
        async with opened(ChildPool(1)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            running = await begin(pool, make_task("sleep", {"seconds": 0.5}))
            await asyncio.sleep(0.1)
            for child in children_of_this_process():
                os.kill(child, signal.SIGTERM)
                os.kill(child, signal.SIGINT)
            return await running

    assert go(run()).ending is Ending.COMPLETED


@pytest.mark.parametrize("name", ["eat", "eat_in_grandchild"])
def test_memory_is_limited_over_the_whole_tree(name: str) -> None:
    outcome = in_child(name, {"mb": 300}, crashes=0)
    assert outcome.ending is Ending.OUT_OF_MEMORY
    assert outcome.peak_rss is not None
    assert outcome.peak_rss > 150 * 2**20
    assert "of 150 MiB" in (outcome.error or "")
    assert 0 <= outcome.delay <= 2.0


def test_the_greediest_is_known_and_its_peak_is_told() -> None:
    async def run() -> tuple[int | None, int | None, list[Outcome]]:
        async with opened(ChildPool(2, grace=QUICK)) as pool:
            before = await pool.greediest()
            await asyncio.gather(*(pool.run(make_task("noop", row=row), get("noop"), Told()) for row in (1, 2)))
            told = Told()
            modest = await begin(pool, make_task("eat_freely", {"mb": 10, "seconds": 1.5}, row=1))
            greedy = await begin(pool, make_task("eat_freely", {"mb": 120}, row=2), told)
            await until(lambda: bool(told.said("stdout")), 20.0)
            found = await pool.greediest()
            pool.stop(2, Ending.OUT_OF_MEMORY)
            return before, found, [await modest, await greedy]

    before, found, (modest, greedy) = go(run())
    assert before is None
    assert found == 2
    assert modest.ending is Ending.COMPLETED
    assert greedy.ending is Ending.OUT_OF_MEMORY
    assert greedy.peak_rss is not None
    assert greedy.peak_rss > 120 * 2**20


def test_closing_the_pool_ends_every_process_for_certain(tmp_path: Path) -> None:
    told = tmp_path / "pids"

    async def run() -> list[Outcome]:
        async with opened(ChildPool(3, grace=QUICK)) as pool:
            running = [
                await begin(pool, make_task("family", {"path": str(told), "then": "sleep"}, row=1)),
                await begin(pool, make_task("ignore_term", row=2)),
            ]
            await until(Path(f"{told}.ready").exists)
        return [await each for each in running]

    before = set(children_of_this_process())
    outcomes = go(run())
    assert [outcome.ending for outcome in outcomes] == [Ending.RELEASED, Ending.RELEASED]
    assert not any(runs(pid) for pid in pids_in(told))
    assert set(children_of_this_process()) <= before


_PARENT = """
import asyncio, sys
from tests.execution.harness import QUICK, begin, make_task, opened
from jobrunner.execution import child_attempt, posix
from jobrunner.execution.children import ChildPool
from jobrunner.execution.pool import Grace

async def main():
    async with opened(ChildPool(2, grace=QUICK)) as pool:
        await begin(pool, make_task("family", {"path": sys.argv[1], "then": sys.argv[2]}, timeout=100.0))
        await asyncio.sleep(100)

asyncio.run(main())
"""


@pytest.mark.parametrize("then", ["sleep", "spin"])
def test_no_process_outlives_a_killed_worker(tmp_path: Path, then: str) -> None:
    told = tmp_path / "pids"
    worker = subprocess.Popen([sys.executable, "-c", _PARENT, str(told), then])
    deadline = time.monotonic() + 30
    while not Path(f"{told}.ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    everything = pids_in(told)
    assert all(runs(pid) for pid in everything)
    worker.kill()
    worker.wait()
    deadline = time.monotonic() + 15
    while any(runs(pid) for pid in everything):
        assert time.monotonic() < deadline, f"still there: {[pid for pid in everything if runs(pid)]}"
        time.sleep(0.02)
