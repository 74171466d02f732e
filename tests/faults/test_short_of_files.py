"""Processes with few file descriptors: what cannot be started goes back to the queue, and nothing is stuck."""

from __future__ import annotations

import resource
import socket
import time

import httpx2
import pytest

from tests.faults import rest
from tests.faults.fleet import Fleet, events
from tests.processes import Process, free_port

FEW, MORE = 64, 128
PLENTY = 1024


def _allow(process: Process, count: int) -> None:
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (count, PLENTY))


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_worker_without_descriptors_gives_back_what_it_cannot_start(fleet: Fleet) -> None:
    """Twenty slots are more children than 64 descriptors can have. All ends all the same, and nothing is charged."""
    worker = fleet.ready("--node-name", "n", max_workers="20")
    _allow(worker, FEW)
    ids = fleet.submit("fault.work", 40, options={"max_attempts": 1}, seconds=0.5)
    took = fleet.wait_until_ended(60)
    assert {fleet.row(task_id).status for task_id in ids} == {"completed"}
    outcomes = {end.outcome for task_id in ids for end in fleet.left(task_id)}
    assert outcomes == {"released"}, "some could not be started, and cost nothing"
    releases = sum(fleet.row(task_id).releases for task_id in ids)
    found = fleet.prove(f"{FEW} descriptors for 20 children", took=took, given_back=releases)
    assert found.lost == 0
    assert releases < 10 * len(ids), "a worker that cannot start any more waits before it tries again"
    assert fleet.node("n").state == "active"
    assert worker.stop() == 0


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["fleet", "alone"])
def test_a_server_whose_descriptors_are_all_taken_works_on(request: pytest.FixtureRequest, kind: str) -> None:
    """Connections that say nothing take what they can get: what was accepted gets done beside them."""
    fleet: Fleet = request.getfixturevalue(kind)
    node = fleet.worker(port=free_port(), command="up", max_workers="1")
    node.wait_healthy()
    for number in range(20):
        rest.execute(node.url, f"t{number}", "fault.async", {"ledger": str(fleet.ledger), "seconds": 2.0})
    _allow(node, MORE)
    assert node.port is not None
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(2 * MORE)]
    refused = 0
    try:
        httpx2.get(f"{node.url}/healthz", timeout=1)
    except httpx2.TransportError:
        refused = 1
    time.sleep(3)
    for one in silent:
        one.close()
    freed = time.monotonic()
    node.wait_healthy()
    back = time.monotonic() - freed
    for number in range(20):
        assert rest.wait(node.url, f"t{number}")["status"] == "completed"
    assert events(node, "late outcome refused") == []
    assert events(node, "socket.accept") == []
    assert node.stop() == 0
    fleet.accepted = [f"t{number}" for number in range(20)]
    found = fleet.prove(f"{kind}: all {MORE} descriptors taken", unheard=refused, heard_again_after=back)
    assert found.lost == 0
    assert refused, "one was free: the test means nothing"
