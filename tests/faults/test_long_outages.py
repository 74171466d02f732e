"""Outages at length: one of four leases, crash after crash, a backend ended each half second, a slow broken line."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

import httpx2
import pytest

from tests.faults.fleet import READY, Fleet, wait_for
from tests.faults.spoken import Act
from tests.faults.wire import Wire
from tests.postgres import PrivateServer
from tests.postgres.ending import end_connections
from tests.processes import free_port

ONCE = {"max_attempts": 1}  # the database's absence is no failure of a task: one try is enough


@pytest.mark.long
@pytest.mark.timeout(240)
def test_an_outage_of_four_leases_runs_nothing_twice(apart: Fleet, private_server: PrivateServer) -> None:
    patient: dict[str, Any] = {"lease_seconds": "15", "heartbeat_interval": "5"}
    workers = [apart.ready("--node-name", f"n{number}", port=free_port(), **patient) for number in range(2)]
    apart.submit("fault.async", 16, options=ONCE, seconds=75.0)
    apart.submit("fault.work", 4, options=ONCE, seconds=75.0)
    apart.wait_for_lines("begin", 20)
    private_server.stop("immediate")
    apart.close()
    refused = _refusals(workers[0].url, 60)
    private_server.start()
    up = time.monotonic()
    apart.submit("fault.async", 1)
    apart.wait_for_lines("begin", 21, 30)
    first = time.monotonic() - up
    apart.wait_until_ended(60)
    found = apart.prove("outage of 60 s, lease of 15 s, 20 running", first_claim_after=first, answered_503=refused)
    assert (found.runs, found.lost) == (21, 0), "what still ran was run again"
    assert [worker.exit_code for worker in workers] == [None, None]
    assert [worker.stop() for worker in workers] == [0, 0]
    apart.close()


def _refusals(url: str, seconds: float) -> int:
    """Ask for that long; returns how often. Each answer is a 503 that says when to come again."""
    until, times = time.monotonic() + seconds, 0
    body = {"task_type": "fault.async", "task_data": {}}
    with httpx2.Client(base_url=url, timeout=30) as http:
        while time.monotonic() < until:
            for answer in (http.post("/api/v1/task/execute", json=body), http.get("/api/v1/task/none/status")):
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["Retry-After"]) > 0
                times += 1
            time.sleep(0.5)
    return times


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(6, marks=pytest.mark.long),
        pytest.param(600, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def test_crash_after_crash_loses_nothing(apart: Fleet, private_server: PrivateServer, seconds: int) -> None:
    apart.make_ledger_table()
    workers = [apart.ready("--node-name", f"n{number}") for number in range(2)]
    chance = random.Random(7)
    begun, crashes = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        apart.submit("fault.async", 60, options=ONCE, seconds=0.05, effect="fault.row")
        apart.submit("fault.work", 10, options=ONCE, seconds=0.1, effect="fault.row")
        time.sleep(chance.uniform(0.5, 1.5) if seconds < 60 else chance.uniform(5.0, 40.0))
        private_server.restart("immediate")
        crashes += 1
        apart.close()
    up = time.monotonic()
    apart.wait_until_ended(60)
    found = apart.prove(f"{crashes} crashes in {seconds} s", effects=True, drained_after=time.monotonic() - up)
    assert crashes >= 3
    assert {row.status for row in found.rows} == {"completed"}
    assert [worker.stop() for worker in workers] == [0, 0]
    apart.close()


@pytest.mark.long
@pytest.mark.timeout(120)
def test_backends_that_end_twice_a_second_cost_a_client_of_the_door_no_task(fleet: Fleet) -> None:
    door = fleet.ready(port=free_port())
    other = fleet.ready()
    door.wait_healthy()
    codes: Counter[int] = Counter()
    ended = 0
    over = threading.Event()

    def submit() -> None:
        with httpx2.Client(timeout=20) as http:
            while not over.is_set():
                name = f"rest-{len(fleet.accepted)}"
                body = {"task_id": name, "task_type": "fault.async", "task_data": {"ledger": str(fleet.ledger)}}
                answer = http.post(f"{door.url}/api/v1/task/execute", json=body)
                codes[answer.status_code] += 1
                if answer.status_code in (200, 202):
                    fleet.accepted.append(name)
                elif answer.status_code == 503:
                    assert answer.headers["Retry-After"]
                time.sleep(0.01)

    client = threading.Thread(target=submit, name="client")
    client.start()
    for _ in range(40):
        ended += end_connections(fleet.url, 1)
        time.sleep(0.5)
    over.set()
    client.join()
    fleet.close()
    fleet.wait_until_ended()
    refused = codes[503]
    fleet.prove(f"{ended} backends terminated, one each half second", answered=codes.total(), refused=refused)
    assert set(codes) <= {200, 202, 503}, codes
    assert refused / codes.total() < 0.1
    assert [door.stop(), other.stop()] == [0, 0]


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_slow_line_that_breaks_at_each_hundredth_statement_loses_no_lease(fleet: Fleet) -> None:
    """200 ms +- 200 from a statement to its answer; half of the cuts are in place of the answer."""
    fleet.make_ledger_table()
    chance = random.Random(7)
    cuts: Counter[Act] = Counter()
    bad = threading.Event()

    def asked(_statement: str) -> Act:
        if not bad.is_set():
            return "pass"
        act: Act = chance.choices(["pass", "before", "answered"], [198, 1, 1])[0]  # type: ignore[assignment]
        cuts[act] += 1
        return act

    with Wire(fleet.url, asked=asked, late=lambda: chance.uniform(0.0, 0.2) * bad.is_set()) as wire:
        slow: dict[str, Any] = {"lease_seconds": "15", "heartbeat_interval": "5", "database_url": wire.url}
        workers = [fleet.worker("--node-name", f"n{number}", **slow) for number in range(2)]
        for worker in workers:
            worker.wait_for_line(READY)
        bad.set()
        begun = time.monotonic()
        for _ in range(10):
            fleet.submit("fault.async", 100, options=ONCE, seconds=0.1)
            fleet.submit("fault.work", 4, options=ONCE, seconds=2.0, effect="fault.row")
            time.sleep(2)
        wait_for(lambda: fleet.open_tasks() == 0, "all of it ends", 90)
        took = time.monotonic() - begun
        bad.clear()
        broken = cuts["before"] + cuts["answered"]
        found = fleet.prove(f"200 ms +- 200, {broken} of {cuts.total()} cut", effects=True, tasks_per_s=1_040 / took)
        assert broken > 3, "no statement was cut: the test means nothing"
        began = {(line.task_id, line.attempt) for line in found.lines if line.what == "begin"}
        held = [one for one in found.ended if one.outcome == "lost" and (one.task_id, one.attempt) in began]
        assert held == [], "only a claim whose answer was cut may run out"
        assert [worker.stop() for worker in workers] == [0, 0]
