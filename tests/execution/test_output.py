"""What a child says and writes is kept with the attempt, and a flood of it is not."""

from __future__ import annotations

import asyncio
import re

from jobrunner.execution.children import ChildPool
from jobrunner.execution.quota import CHARACTERS, LINE_BYTES, LINES
from jobrunner.handlers import get
from jobrunner.queue.task import Ending
from tests.execution.harness import QUICK, Told, go, in_child, make_task, opened, until


def test_everything_that_is_said_is_kept_with_the_attempt() -> None:
    told = Told()
    assert in_child("talk", told=told).ending is Ending.COMPLETED
    assert told.said("stdout") == ["to stdout", "from a shell", "without an end"]
    assert told.said("stderr") == ["to stderr"]
    [logged] = [line for line in told.lines if line.level == "warning"]
    assert (logged.message, logged.fields) == ("logged well", {"logger": "my.module"})
    [said] = [line for line in told.lines if line.level == "debug"]
    assert (said.message, said.fields) == ("said", {"n": 1, "odd": "{1, 2}"})
    assert all(line.at.utcoffset() is not None for line in told.lines)


def test_lines_belong_to_the_attempt_that_wrote_them() -> None:
    async def run() -> list[Told]:
        kept = [Told() for _ in range(20)]
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            for number, told in enumerate(kept):
                await pool.run(make_task("flood", {"lines": number, "width": 2}), get("flood"), told)
        return kept

    for number, told in enumerate(go(run())):
        assert told.said() == [f"{line:02}" for line in range(number)]


def test_a_flood_of_lines_is_cut_and_the_cut_is_told() -> None:
    told = Told()
    assert in_child("flood", {"lines": 50_000}, told=told).ending is Ending.COMPLETED
    *kept, note = told.lines
    assert len(kept) == LINES
    assert note.message == f"{50_000 - LINES} more lines of output were dropped"
    assert note.level == "warning"


def test_few_long_lines_are_cut_too() -> None:
    told = Told()
    assert in_child("flood", {"lines": 2_000, "width": 10_000}, told=told).ending is Ending.COMPLETED
    assert all(len(line.message.encode()) <= LINE_BYTES for line in told.lines)
    assert sum(len(line.message) for line in told.lines) <= CHARACTERS + LINE_BYTES
    assert "dropped" in told.lines[-1].message


def test_bytes_without_an_end_neither_fill_the_worker_nor_stay_raw() -> None:
    told = Told()
    assert in_child("flood_bytes", {"count": 30 * 2**20}, told=told).ending is Ending.COMPLETED
    kept = "".join(told.said())
    assert 0 < len(kept) <= CHARACTERS + LINE_BYTES
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", kept)


def test_a_flood_of_log_calls_is_cut_where_it_is_made() -> None:
    told = Told()
    assert in_child("flood_log", {"lines": 20_000}, told=told).ending is Ending.COMPLETED
    assert len(told.lines) == LINES + 1
    assert told.lines[-1].message == f"{20_000 - LINES} more lines of log were dropped"


def test_a_progress_bar_leaves_its_last_state() -> None:
    told = Told()
    in_child("bar", told=told)
    assert told.said("stderr") == ["100 %"]


def test_progress_comes_at_most_ten_times_a_second_and_the_last_one_always() -> None:
    told = Told()
    assert in_child("progress", {"count": 5_000}, told=told).ending is Ending.COMPLETED
    assert 2 <= len(told.progressed) <= 15
    assert told.progressed[0] == (0.0, "step 0")
    assert told.progressed[-1] == (4_999 / 5_000, "step 4999")


def test_progress_that_was_held_back_is_told_although_nothing_follows() -> None:
    async def run() -> list[tuple[float | None, str]]:
        told = Told()
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await pool.run(make_task("noop"), get("noop"), told)
            running = asyncio.create_task(pool.run(make_task("progress_and_wait"), get("progress_and_wait"), told))
            await until(lambda: len(told.progressed) == 2)
            assert not running.done()
            await running
        return told.progressed

    assert go(run()) == [(0.1, "first"), (0.2, "second")]


def test_threads_of_an_ended_handler_are_heard_no_more() -> None:
    async def run() -> tuple[Told, Told]:
        first, second = Told(), Told()
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await pool.run(make_task("leave_thread"), get("leave_thread"), first)
            await pool.run(make_task("sleep", {"seconds": 0.2}, row=2), get("sleep"), second)
            for row in range(3, 200):
                outcome = await pool.run(make_task("noop", row=row), get("noop"), second)
                assert outcome.ending is Ending.COMPLETED
        return first, second

    first, second = go(run())
    assert second.lines == []
    assert second.progressed == []
    assert len(first.lines) < 50
