"""An ``async`` handler that does not give the worker's loop back: what other threads do goes on, and promises stand."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from jobrunner.db.notes import WORK, notify
from jobrunner.submission import submit
from tests.faults.check import check
from tests.faults.fleet import LEASE, Fleet, wait_for
from tests.faults.history import Stop
from tests.processes import Process

pytestmark = pytest.mark.ci


def test_a_loop_that_a_handler_holds_is_left_behind(fleet: Fleet) -> None:
    """An ``async`` handler that never gives the loop back: its lease goes on being renewed, and a signal ends it."""
    worker = fleet.ready("--node-name", "n", grace="3")
    [child_task] = fleet.submit("fault.work", seconds=60.0)
    fleet.wait_for_lines("begin", 1)
    [task_id] = fleet.submit("fault.deaf_async")
    fleet.wait_for_lines("begin", 2)
    begun = time.monotonic()
    worker.signal(signal.SIGTERM)
    time.sleep(LEASE + 0.5)
    assert fleet.row(task_id).lease_until > fleet.now(), "its lease is renewed in another thread"
    assert worker.wait(20) == 0
    took = time.monotonic() - begun
    assert [[one.outcome for one in fleet.left(name)] for name in (child_task, task_id)] == [["released"]] * 2
    assert fleet.node("n").state == "stopped"
    print(f"FIGURE a held loop: exit 0 after {took:.2f} s with a grace of 3 s")
    assert took < 8


@pytest.fixture
def held(fleet: Fleet) -> Process:
    """An idle worker whose loop is held: its hints are heard in another thread, which claims for it."""
    fleet.submit("fault.holds_later", options={"queue": "held"})  # which nobody else serves
    # It looks by itself once a minute: in the middle of a look it stands by for nobody.
    worker = fleet.ready("--node-name", "held", max_workers="1", grace="3", poll_interval="60")
    fleet.wait_for_lines("holds", 1)
    return worker


def test_what_is_claimed_for_it_is_renewed_and_given_back(fleet: Fleet, held: Process) -> None:
    claimed = _ask(fleet, "claimed")
    wait_for(lambda: fleet.row(claimed).status == "running", "it is claimed", 15)
    other = fleet.ready("--node-name", "other", queues="default")
    time.sleep(1.5 * LEASE)
    assert fleet.row(claimed).losses == 0, "renewed although the loop never heard of it"
    stop = _stop(fleet, held)
    _prove(fleet, stop, "a held loop with a claimed task on its way to it")
    assert [end.outcome for end in fleet.left(claimed)] == ["released"]
    assert other.stop() == 0


def test_nothing_is_claimed_for_it_after_the_signal(fleet: Fleet, held: Process) -> None:
    stop = _stop(fleet, held, meanwhile=lambda: _ask(fleet, "after"))
    assert fleet.row("after").attempt == 0
    other = fleet.ready("--node-name", "other", queues="default")
    _prove(fleet, stop, "a held loop, a signal, and then a hint")
    assert other.stop() == 0


def _stop(fleet: Fleet, held: Process, meanwhile: Callable[[], object] = lambda: None) -> Stop:
    at, begun = time.time(), time.monotonic()
    held.signal(signal.SIGTERM)
    time.sleep(0.5)
    meanwhile()
    assert held.wait(20) == 0
    return Stop(fleet.node("held").id, at, time.monotonic() - begun, 3.0 + 3.0)


def _prove(fleet: Fleet, stop: Stop, what: str) -> None:
    [holder] = [line.task_id for line in fleet.lines("holds")]
    fleet.cancel(holder)
    fleet.wait_until_ended()
    assert {fleet.row(one).status for one in fleet.accepted if one != holder} == {"completed"}
    assert check(replace(fleet.history(), stops=(stop,))) == []
    fleet.prove(what, exit_after=stop.took)


def _ask(fleet: Fleet, task_id: str) -> str:
    """With a hint, in the same COMMIT: over HTTP it came too late on a busy machine, when the loop was given up."""
    with fleet.database.begin() as conn:
        submit(conn, "fault.async", {"ledger": str(fleet.ledger)}, task_id=task_id, allow_unknown=True)
        notify(conn, {WORK: [task_id]})
    fleet.accepted.append(task_id)
    return task_id
