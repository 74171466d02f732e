"""Nodes that fall silent without dying: a late result is refused, whoever writes it."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults.fleet import LEASE, Fleet, events, wait_for


@pytest.mark.ci
def test_a_stopped_worker_is_replaced_and_its_late_results_are_refused(fleet: Fleet) -> None:
    """SIGSTOP for twice the lease, then SIGCONT: of the worker, whose children and loop-bound handlers go on."""
    fleet.make_ledger_table()
    sleeper = fleet.ready("--node-name", "sleeper", max_workers="2")
    plain = fleet.submit("fault.work", 1, seconds=3.0, effect="fault.row")
    fleet.wait_for_lines("begin", 1)  # its child took a second to start: by then the other one would have ended
    inline = fleet.submit("fault.async", 1, seconds=3.0, effect="fault.row")
    fleet.wait_for_lines("begin", 2)
    sleeper.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    other = fleet.ready("--node-name", "other")
    time.sleep(max(0.0, 2 * LEASE - (time.monotonic() - stopped)))
    for task_id in inline:
        fleet.wait_for_status(task_id, "completed")
    sleeper.signal(signal.SIGCONT)
    wait_for(lambda: len(events(sleeper, "late outcome refused")) >= 1, "the late outcome is refused", 10)
    fleet.wait_until_ended()
    assert fleet.row(inline[0]).attempt == 2
    assert [one.outcome for one in fleet.left(inline[0])] == ["lost"]
    assert fleet.row(inline[0]).node_id == fleet.node("other").id, "the row belongs to whoever completed it"
    found = fleet.prove(
        "SIGSTOP for twice the lease", effects=True, refused=len(events(sleeper, "late outcome refused"))
    )
    assert found.lost >= 1
    # The sleeper's child was not stopped with it: it settled its own effect in time, or was refused like the others.
    assert fleet.row(plain[0]).status == "completed"
    assert sleeper.stop() == 0
    assert other.stop() == 0


@pytest.mark.ci
def test_everybody_stopped_and_woken_runs_nothing_twice(fleet: Fleet) -> None:
    """A suspended machine: every lease has run out when all wake, and all are still at work."""
    workers = [fleet.ready("--node-name", f"n{number}", max_workers="1") for number in range(2)]
    fleet.submit("fault.work", 2, seconds=4.5)
    fleet.wait_for_lines("begin", 2)
    for worker in workers:
        worker.signal(signal.SIGSTOP)
    time.sleep(1.5 * LEASE)
    for worker in workers:
        worker.signal(signal.SIGCONT)
    fleet.wait_until_ended(20)
    found = fleet.prove("all stopped for 1.5 leases, then woken")
    assert found.lost == 0, "who was away himself cannot tell silence from his own absence"
    for worker in workers:
        assert worker.stop() == 0
