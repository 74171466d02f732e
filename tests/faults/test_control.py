"""What people and limits do to a running task: cancel, retry, time-outs, memory, and children that die."""

from __future__ import annotations

import time

import httpx2
import psutil
import pytest

from tests.faults import rest
from tests.faults.fleet import Fleet, wait_for
from tests.processes import free_port


@pytest.mark.parametrize("kind", ["fleet", pytest.param("alone", marks=pytest.mark.ci)])
def test_a_cancel_reaches_a_running_child_at_once(request: pytest.FixtureRequest, kind: str) -> None:
    """By the hint: the renewals of a lease of 60 s are 20 s apart. Grandchildren go with it. Then a retry by hand."""
    fleet: Fleet = request.getfixturevalue(kind)
    node = fleet.worker(port=free_port(), lease_seconds="60", heartbeat_interval="10")
    node.wait_healthy()
    asked = node
    if kind == "fleet":  # asked through another process: the hint crosses the wire
        asked = fleet.worker(port=free_port(), command="api")
        asked.wait_healthy()
    rest.execute(asked.url, "t", "fault.family", {"ledger": str(fleet.ledger)})
    fleet.wait_for_lines("begin", 1)
    family = _family(fleet)
    start = time.monotonic()
    answer = httpx2.post(f"{asked.url}/api/v1/tasks/t/cancel", json={})
    assert answer.status_code == 202
    seen = wait_for(lambda: _gone(family[0]), "its child is gone", 20)
    told = rest.wait(asked.url, "t", 20)
    ended = time.monotonic() - start
    assert told["status"] == "cancelled"
    assert [pid for pid in family if not _gone(pid)] == []
    print(f"FIGURE {kind}: child and grandchildren gone {seen:.2f} s after the cancel, recorded after {ended:.2f} s")
    assert ended < 9  # the next heartbeat would be ten seconds away
    assert httpx2.post(f"{asked.url}/api/v1/tasks/t/retry", json={}).status_code == 202
    fleet.wait_for_lines("begin", 2)
    assert httpx2.post(f"{asked.url}/api/v1/tasks/t/cancel", json={}).status_code == 202
    assert rest.wait(asked.url, "t", 20)["status"] == "cancelled"
    assert [line.attempt for line in fleet.lines("begin")] == [1, 2]
    assert {one.stop() for one in (node, asked)} == {0}


def test_a_killed_worker_leaves_no_process_behind(fleet: Fleet) -> None:
    worker = fleet.ready(max_workers="1")
    [task_id] = fleet.submit("fault.family")
    fleet.wait_for_lines("begin", 1)
    worker.kill()
    took = wait_for(lambda: all(map(_gone, _family(fleet))), "its child and what that started are gone", 15)
    print(f"FIGURE kill -9 of a worker: its child and grandchildren gone after {took:.2f} s")
    assert fleet.row(task_id).status == "running"


def _family(fleet: Fleet) -> list[int]:
    """The child and what it started."""
    started = [int(line.what.split()[1]) for line in fleet.lines_like("started ")]
    return [fleet.lines("begin")[0].pid, *started]


@pytest.mark.ci
def test_limits_end_a_child_and_say_why(fleet: Fleet) -> None:
    """Time, its own memory, and its own death: each has its budget, and the worker lives on."""
    worker = fleet.ready(max_workers="4")
    [late] = fleet.submit("fault.family", options={"timeout": 0.7, "max_attempts": 1})
    [greedy] = fleet.submit("fault.eat", mb=400)
    [deadly] = fleet.submit("fault.die")
    [clumsy] = fleet.submit("fault.fail", until_attempt=3)
    fleet.wait_until_ended()
    assert [one.outcome for one in fleet.left(late)] == ["timeout"]
    assert "within 0.7 s" in fleet.row(late).error
    assert [pid for pid in _family_of(fleet, late) if not _gone(pid)] == []
    eaten = fleet.left(greedy)
    assert [one.outcome for one in eaten] == ["out_of_memory"] * 3
    assert all(one.peak_rss > 200 * 2**20 for one in eaten)
    assert "MiB of 200 MiB" in eaten[0].error
    assert (fleet.row(greedy).status, fleet.row(greedy).crashes) == ("failed", 3)
    died = fleet.left(deadly)
    assert [(one.outcome, one.exit_signal) for one in died] == [("crashed", 9)] * 3
    assert (fleet.row(deadly).status, fleet.row(deadly).failures) == ("failed", 0)
    assert "died 3 times" in fleet.row(deadly).error
    assert [one.outcome for one in fleet.left(clumsy)] == ["error", "error"]
    assert fleet.row(clumsy).status == "completed"
    assert worker.exit_code is None
    peak = max(one.peak_rss for one in eaten) >> 20
    fleet.prove(f"timeout, memory_mb 200 (peak {peak} MiB), 3 crashes, 2 failures")
    assert worker.stop() == 0


def _family_of(fleet: Fleet, task_id: str) -> list[int]:
    mine = [line for line in fleet.lines_like("") if line.task_id == task_id]
    return [int(line.what.split()[1]) for line in mine if line.what.startswith("started")] + [mine[0].pid]


@pytest.mark.ci
def test_max_memory_mb_ends_the_greediest(fleet: Fleet) -> None:
    worker = fleet.ready("--node-name", "n", max_workers="2", max_memory_mb="500")
    [modest] = fleet.submit("fault.eat_freely", mb=20, seconds=4.0)
    [greedy] = fleet.submit("fault.eat_freely", mb=500)
    wait_for(lambda: len(fleet.left(greedy)) > 0, "the greedy one is ended", 15)
    fleet.cancel(greedy)
    [first, *_] = fleet.left(greedy)
    assert (first.outcome, first.peak_rss > 400 * 2**20) == ("out_of_memory", True)
    fleet.wait_until_ended()
    assert (fleet.row(modest).status, fleet.left(modest)) == ("completed", [])
    assert worker.exit_code is None
    print(f"FIGURE max_memory_mb 500: ended the one with {first.peak_rss >> 20} MiB")
    assert worker.stop() == 0


def _gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)  # its new parent is slow to bury it
    except psutil.NoSuchProcess:
        return True
