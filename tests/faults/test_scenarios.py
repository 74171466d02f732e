"""The guide's four scenarios: no node, one node, several nodes, a node that fails."""

from __future__ import annotations

import time

import httpx2

from tests.faults import rest
from tests.faults.fleet import LEASE, Fleet
from tests.processes import free_port


def test_without_a_node_one_process_does_everything(alone: Fleet) -> None:
    start = time.monotonic()
    home = alone.worker(port=free_port(), command="up")
    home.wait_healthy()
    ready = time.monotonic() - start
    data = {"ledger": str(alone.ledger), "seconds": 0.1}
    for number in range(8):
        assert rest.execute(home.url, f"t{number}", "fault.work", data)["status"] == "pending"
    told = [rest.wait(home.url, f"t{number}") for number in range(8)]
    assert [one["status"] for one in told] == ["completed"] * 8
    assert all(one["result"]["attempt"] == 1 and one["execution_time"] >= 0.1 for one in told)
    health = rest.get(home.url, "/api/v1/health")
    assert (health["status"], health["completed_tasks"]) == ("healthy", 8)
    assert home.stop() == 0
    alone.accepted = [f"t{number}" for number in range(8)]
    alone.prove("no node", ready_after=ready)


def test_one_node_works_and_answers_the_guides_calls(fleet: Fleet) -> None:
    node = fleet.worker("--node-name", "Worker-1", "--max-workers", "4", port=free_port())
    node.wait_healthy()
    data = {"ledger": str(fleet.ledger), "seconds": 0.2}
    start = time.monotonic()
    for number in range(12):
        rest.execute(node.url, f"t{number}", "fault.work", data)
    accepted = time.monotonic() - start
    told = [rest.wait(node.url, f"t{number}") for number in range(12)]
    took = time.monotonic() - start
    assert [one["status"] for one in told] == ["completed"] * 12
    health = rest.get(node.url, "/api/v1/health")
    assert (health["node_name"], health["status"]) == ("Worker-1", "healthy")
    assert {"fault.work", "data_import"} <= set(health["capabilities"])
    stats = rest.get(node.url, "/api/v1/node/stats")["data"]
    assert (stats["node_info"]["max_workers"], stats["task_stats"]["total_executed"]) == (4, 12)
    answer = httpx2.post(f"{node.url}/api/v1/node/shutdown", json={}, timeout=10)
    assert answer.status_code == 202
    assert node.wait() == 0
    fleet.accepted = [f"t{number}" for number in range(12)]
    fleet.prove("one node, 12 x 0.2 s in 4 slots", accepted_after=accepted, done_after=took)


def test_several_nodes_share_and_a_killed_one_is_made_up_for(fleet: Fleet) -> None:
    names = ["Worker-1", "Worker-2", "Worker-3"]
    first, *others = nodes = [fleet.worker("--node-name", name, port=free_port()) for name in names]
    for node in nodes:
        node.wait_healthy()
    data = {"ledger": str(fleet.ledger), "seconds": 0.2}
    for number in range(12):
        rest.execute(first.url, f"shared-{number}", "fault.work", data)
    for number in range(12):
        assert rest.wait(others[0].url, f"shared-{number}")["status"] == "completed"
    shares = [rest.get(node.url, "/api/v1/health")["completed_tasks"] for node in nodes]
    assert sum(shares) == 12
    assert min(shares) >= 2, f"six slots, and one node of three did next to nothing: {shares}"

    for number in range(9):
        rest.execute(others[0].url, f"killed-{number}", "fault.work", {**data, "seconds": 0.5})
    fleet.wait_for_lines("begin", 12 + 5)
    killed = time.monotonic()
    first.kill()
    for number in range(9):
        assert rest.wait(others[1].url, f"killed-{number}")["status"] == "completed"
    recovered = time.monotonic() - killed
    for node in others:
        assert node.stop() == 0
    fleet.accepted = [f"shared-{n}" for n in range(12)] + [f"killed-{n}" for n in range(9)]
    found = fleet.prove(f"three nodes {shares}, one killed", all_done_after=recovered)
    assert found.lost >= 1, "the killed node held nothing: the test means nothing"
    assert recovered < 9 * 0.5 / 4 + LEASE + 8
