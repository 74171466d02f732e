"""How a worker ends: what runs finishes or is given back, nothing is charged, and nothing can hold the process."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from tests.faults.fleet import Fleet, wait_for


def test_a_signal_drains(fleet: Fleet) -> None:
    """The short task ends well; the long one is given back, uncharged, after the grace; no further one is begun."""
    fleet.make_ledger_table()
    numbers = (signal.SIGTERM, signal.SIGINT)
    once: dict[str, Any] = {"max_attempts": 1}
    workers = {
        number: fleet.ready("--node-name", number.name, "--queues", number.name, max_workers="2", grace="1.5")
        for number in numbers
    }
    long = {n: fleet.submit("fault.work", options={**once, "queue": n.name}, seconds=60.0)[0] for n in numbers}
    short = {n: fleet.submit("fault.work", options={**once, "queue": n.name}, seconds=1.0)[0] for n in numbers}
    fleet.wait_for_lines("begin", 4)
    waiting = {n: fleet.submit("fault.work", options={"queue": n.name})[0] for n in numbers}
    start = time.monotonic()
    for number, worker in workers.items():
        worker.signal(number)
    for number, worker in workers.items():
        assert worker.wait(20) == 0
        took = time.monotonic() - start
        assert fleet.row(short[number]).status == "completed"
        row = fleet.row(long[number])
        assert (row.status, row.releases, row.failures, row.losses) == ("pending", 1, 0, 0)
        assert [one.outcome for one in fleet.left(long[number])] == ["released"]
        assert (fleet.row(waiting[number]).status, fleet.row(waiting[number]).attempt) == ("pending", 0)
        assert fleet.node(number.name).state == "stopped"
        assert fleet.node(number.name).stopped_at is not None
        print(f"FIGURE {number.name}: exit 0 after {took:.2f} s with a grace of 1.5 s, one finished, one given back")
        assert took < 1.5 + 10


def test_a_second_signal_hurries(fleet: Fleet) -> None:
    worker = fleet.ready(grace="60", max_workers="2")
    ids = fleet.submit("fault.work", 2, seconds=60.0)
    fleet.wait_for_lines("begin", 2)
    worker.signal(signal.SIGTERM)
    worker.wait_for_line(r'"event": "draining"')
    assert worker.exit_code is None
    start = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    took = time.monotonic() - start
    assert [[one.outcome for one in fleet.left(task_id)] for task_id in ids] == [["released"]] * 2
    print(f"FIGURE second SIGTERM: exit 0 after {took:.2f} s with a grace of 60 s")
    assert took < 5


@pytest.mark.ci
def test_handlers_that_ignore_everything_cannot_hold_the_process(fleet: Fleet) -> None:
    """A thread that sleeps, and a coroutine that swallows its cancellation."""
    worker = fleet.ready("--node-name", "n", grace="0.5")
    ids = fleet.submit("fault.deaf_inline") + fleet.submit("fault.stubborn_async")
    fleet.wait_for_lines("begin", 2)
    start = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    took = time.monotonic() - start
    assert [fleet.row(task_id).status for task_id in ids] == ["pending"] * 2
    assert [[one.outcome for one in fleet.left(task_id)] for task_id in ids] == [["released"]] * 2
    assert fleet.node("n").state == "stopped"
    print(f"FIGURE stuck inline and async handlers: exit 0 after {took:.2f} s with a grace of 0.5 s")
    assert took < 12


@pytest.mark.ci
def test_a_handler_that_ignores_its_time_out_runs_on_beside_the_next_attempt(fleet: Fleet) -> None:
    """Nothing ends it inside a worker: what the documentation says of ``async`` and ``inline``, and of them alone."""
    worker = fleet.ready(grace="0.5")
    [task_id] = fleet.submit("fault.stubborn_async", options={"timeout": 0.5, "max_attempts": 2})
    fleet.wait_for_status(task_id, "failed", 20)
    ends = fleet.left(task_id)
    assert [one.outcome for one in ends] == ["timeout"] * 2
    assert all("its handler goes on inside the worker" in one.error for one in ends)
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    said = {number: [line.at for line in fleet.lines_like("") if line.attempt == number] for number in (1, 2)}
    assert max(said[1]) > min(said[2]), "the first one was still there to ignore the end of its worker"


@pytest.mark.ci
def test_a_worker_whose_slots_are_all_stuck_ends_itself(fleet: Fleet) -> None:
    worker = fleet.ready("--node-name", "n", max_workers="1", task_timeout="0.5", grace="0.5")
    fleet.submit("fault.deaf_inline", options={"max_attempts": 1})
    fleet.wait_for_lines("begin", 1)
    wait_for(lambda: worker.exit_code is not None, "it gives up", 20)
    assert worker.exit_code == 1
    assert fleet.open_tasks() == 0
    assert [one.outcome for one in fleet.left(fleet.accepted[0])] == ["timeout"]


def test_ends_by_itself(fleet: Fleet) -> None:
    """--once runs one task, --until-empty all of them, --idle-timeout waits for more; each on its own queues."""
    for queue in ("a", "b", "c"):
        fleet.submit("fault.work", 3, options={"queue": queue}, seconds=0.05)
    once = fleet.worker("--once", "--queues", "a", max_workers="2")
    empty = fleet.worker("--until-empty", "--queues", "b", "--node-name", "b", max_workers="2")
    idle = fleet.worker("--idle-timeout", "1s", "--queues", "c", max_workers="2")
    assert [one.wait(20) for one in (once, empty, idle)] == [0, 0, 0]
    by_queue: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    for task_id in fleet.accepted:
        by_queue[fleet.row(task_id).queue].append(fleet.row(task_id).status)
    assert {queue: found.count("completed") for queue, found in by_queue.items()} == {"a": 1, "b": 3, "c": 3}
    done_by = {fleet.row(task_id).node_id for task_id in fleet.accepted if fleet.row(task_id).queue == "b"}
    assert done_by == {fleet.node("b").id}


def test_a_node_without_memory_takes_nothing_and_says_why(fleet: Fleet) -> None:
    full = fleet.ready("--node-name", "full", max_memory_mb="1")
    fleet.submit("fault.work", 1)
    wait_for(lambda: fleet.node("full").state == "overloaded", "the row says so", 10)
    time.sleep(0.5)
    assert "out of memory" in fleet.node("full").reason
    assert "max_memory_mb is 1" in fleet.node("full").reason
    assert fleet.row(fleet.accepted[0]).attempt == 0
    assert full.stop() == 0
