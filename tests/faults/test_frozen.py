"""Workers that are frozen with much in hand: a thousand late outcomes refused, and no lock that outlasts its owner."""

from __future__ import annotations

import json
import signal
import time

import psutil
import pytest

from tests.faults.fleet import LEASE, Fleet, events, wait_for
from tests.processes import Process

MANY = 1_000
TAKES = 12.0  # seconds that each of them does nothing
IDLE = 15.0  # seconds after which the server ends a transaction in which nothing happens
CHECKED = 2.0  # seconds between two looks of a worker for stale leases, at most, with room for a busy machine


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("beats", [True, False], ids=["its heartbeat wakes with it", "its heartbeat hangs"])
def test_a_thousand_late_outcomes_are_refused(fleet: Fleet, beats: bool) -> None:
    """SIGSTOP of one worker for six leases: when it wakes with all its outcomes, another one is about what it held.

    Where the heartbeat wakes first, it may be the one to learn that all is lost; where it hangs, each outcome is
    written, and refused by its token.
    """
    hangs = "" if beats else "renew-before:sleep=3600"
    frozen = fleet.ready("--node-name", "frozen", max_async=str(MANY), grace="0", failpoint=hangs)
    fleet.submit("fault.async", MANY, seconds=TAKES)
    fleet.wait_for_lines("begin", MANY, 60)
    frozen.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    other = fleet.ready("--node-name", "other", max_async=str(MANY))
    fleet.wait_for_lines("begin", 2 * MANY, 60)
    time.sleep(max(0.0, TAKES + 0.5 - (time.monotonic() - stopped)))
    assert beats or len(fleet.lines("end")) < MANY, "nobody has them any more: the test means little"
    frozen.signal(signal.SIGCONT)
    away = time.monotonic() - stopped
    wait_for(lambda: len(events(frozen, "late outcome refused")) >= MANY, "every late outcome is refused", 60)
    refused = [json.loads(line) for line in events(frozen, "late outcome refused")]
    written = sum(line["ending"] == "completed" for line in refused)
    assert len(refused) == len({line["task_id"] for line in refused}) == MANY
    assert beats or written == MANY, "each of them was to reach the database"
    fleet.wait_until_ended(120)
    found = fleet.prove("SIGSTOP with 1,000 in hand", away=away, refused=len(refused), of_them_written=written)
    assert {(row.status, row.attempt) for row in found.rows} == {("completed", 2)}
    assert found.lost == MANY
    assert {fleet.row(task_id).node_id for task_id in fleet.accepted[::100]} == {fleet.node("other").id}
    assert other.stop() == 0
    assert frozen.stop() == 0


@pytest.mark.long
@pytest.mark.timeout(120)
def test_what_a_frozen_process_has_locked_is_free_again_in_time(fleet: Fleet) -> None:
    """The server ends its open transaction after 15 s. A claim is one statement, and leaves no transaction open."""
    fleet.make_ledger_table()
    points = {
        "claim-before": ({}, 0.0),
        "claim-after-commit": ({}, LEASE),
        "effect-before-commit": ({"effect": "fault.row"}, IDLE),
    }
    tasks = {
        point: fleet.submit("fault.async", options={"queue": point}, **data)[0] for point, (data, _) in points.items()
    }
    frozen = {point: fleet.worker("--queues", point, failpoint=f"{point}:stop") for point in points}
    stopped = {point: _frozen(worker) for point, worker in frozen.items()}
    # One more, while it takes back what the second held: that row is locked as well.
    sweeper = fleet.worker("--queues", "none", failpoint="reclaim-before-commit:stop")
    stopped["reclaim-before-commit"] = _frozen(sweeper)
    survivor = fleet.ready(max_workers="4")
    fleet.wait_until_ended(60)
    begun = {line.task_id: line.at for line in sorted(fleet.lines("begin"), key=lambda line: line.at)}
    free = {point: begun[task_id] - stopped[point] for point, task_id in tasks.items()}
    found = fleet.prove(f"frozen at {len(frozen) + 1} steps", effects=True, **_named(free))
    assert {row.status for row in found.rows} == {"completed"}
    for point, seconds in free.items():
        # What a frozen sweeper holds besides is held for its own 15 s.
        limit = max(points[point][1], stopped["reclaim-before-commit"] - stopped[point] + IDLE)
        assert seconds < limit + LEASE + CHECKED + 3, f"{point}: claimable again after {seconds:.1f} s"
    for worker in (*frozen.values(), sweeper):
        worker.signal(signal.SIGCONT)
    assert survivor.stop() == 0
    for worker in (*frozen.values(), sweeper):
        assert worker.stop() == 0
    fleet.prove("the same, all of them woken", effects=True)


def _frozen(worker: Process) -> float:
    """Wait until it has stopped itself; returns when, in Unix time."""
    wait_for(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED, "it is frozen", 30)
    return time.time()


def _named(seconds: dict[str, float]) -> dict[str, float]:
    return {f"{point} claimed again after": value for point, value in seconds.items()}
