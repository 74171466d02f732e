"""Figures of the machine that fail or never come: they go stale, and nothing else does."""

from __future__ import annotations

import time

import pytest

from tests.faults.fleet import LEASE, Fleet, events

HEARTBEAT = 0.5


@pytest.mark.parametrize(
    ("fault", "at"),
    [
        pytest.param("sleep=60", 3, marks=pytest.mark.ci),
        pytest.param("sleep=60", 1, marks=pytest.mark.long),
        pytest.param("raise", 1, marks=pytest.mark.long),
        pytest.param("raise", 3, marks=pytest.mark.long),
    ],
)
def test_a_node_whose_figures_do_not_come_keeps_its_leases(fleet: Fleet, fault: str, at: int) -> None:
    """As a mount that hangs, or a psutil that meets what it does not know."""
    worker = fleet.ready("--node-name", "n", failpoint=f"sample-before:{fault}:{at}", heartbeat_interval=str(HEARTBEAT))
    other = fleet.ready("--node-name", "other", "--queues", "none")
    fleet.submit("fault.async", 3, seconds=2 * LEASE)
    fleet.wait_for_lines("begin", 3)
    seen = fleet.node("n").heartbeat_at
    fleet.wait_until_ended()
    beaten = (fleet.node("n").heartbeat_at - seen).total_seconds()
    assert beaten > LEASE, "its row is written all the while"
    found = fleet.prove(f"figures that {fault} at look {at}, {2 * LEASE:g} s of work", beaten_for=beaten)
    assert (found.lost, found.runs) == (0, 3)
    assert events(other, "lease reclaimed") == []
    stale = fleet.node("n").memory_total == 0
    assert stale == ((fault, at) == ("sleep=60", 1)), "the last figures stand, and without any there are none"
    start = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - start < 5, "nobody waits for them at the end"
    assert other.stop() == 0
