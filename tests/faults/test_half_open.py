"""One link goes silent just as one statement is sent on it: the others work on, and it is given up in time."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from jobrunner.db.engine import DEADLINE
from jobrunner.db.hints import RECONNECT
from jobrunner.execution.attempt import OUTAGE_DELAY
from jobrunner.node.claims import OUTAGE_PAUSE
from jobrunner.node.heartbeat import DEADLINE as BEAT_DEADLINE
from jobrunner.node.heartbeat import RETRY
from jobrunner.node.lane import RETRY_FIRST
from jobrunner.runtime.run import END_AFTER
from tests.faults.fleet import READY, Fleet, wait_for
from tests.faults.spoken import CLAIM, LISTEN, RENEW, SETTLE, Act, Trap
from tests.faults.wire import Wire

LEASE = 15.0  # seconds: longer than any deadline here
POLL = 0.2  # seconds
SLACK = 1.0  # seconds on a busy machine


@dataclass(frozen=True)
class Link:
    """A statement that is cut in silence, what makes the worker send it, and the seconds until it is asked again."""

    words: str
    work: tuple[str, float]
    within: float


LINKS = {
    "claim": Link(CLAIM, ("fault.async", 0.0), DEADLINE + OUTAGE_PAUSE + POLL),
    "renew": Link(RENEW, ("fault.async", 14.0), BEAT_DEADLINE + RETRY),
    "settle": Link(SETTLE, ("fault.async", 0.0), DEADLINE + RETRY_FIRST),
    "listen": Link(LISTEN, ("fault.async", 0.0), DEADLINE + RECONNECT),
}


@pytest.mark.long
@pytest.mark.timeout(150)
@pytest.mark.parametrize("act", ["silence", "hush"])
def test_a_link_that_dies_with_one_statement_is_given_up_in_time(fleet: Fleet, act: Act) -> None:
    """A worker for each statement, all at once; each on a queue and behind a wire of its own."""
    traps = {name: Trap(act, link.words) for name, link in LINKS.items()}
    with ExitStack() as opened:
        workers = []
        for name, trap in traps.items():
            wire = opened.enter_context(Wire(fleet.url, asked=trap))
            if name == "listen":
                trap.set()
            patient: dict[str, Any] = {"lease_seconds": str(LEASE), "heartbeat_interval": "5"}
            workers.append(fleet.worker("--queues", name, database_url=wire.url, max_workers="1", **patient))
        for worker in workers:
            worker.wait_for_line(READY)
        for name, trap in traps.items():
            if name != "listen":
                trap.set()
        for name, link in LINKS.items():
            task_type, seconds = link.work
            fleet.submit(task_type, 3, options={"queue": name}, seconds=seconds)
        fleet.wait_until_ended(60)
        regained: dict[str, Any] = {}
        for name, trap in traps.items():
            wait_for(lambda trap=trap: trap.again_at is not None, f"{name} is asked again", 15)  # type: ignore[misc]
            assert trap.again_at is not None
            assert trap.sprung_at is not None
            regained[name] = trap.again_at - trap.sprung_at
        found = fleet.prove(f"links gone silent one by one, {act}", **regained)
        late = {name: took for name, took in regained.items() if took > LINKS[name].within + SLACK}
        assert late == {}
        assert min(regained["claim"], regained["settle"]) > 5, "it was no dead link: the test means nothing"
        lost = {one.task_id for one in found.ended if one.outcome == "lost"}
        assert all(fleet.row(task_id).queue == "claim" for task_id in lost), "only a claim that was not heard is lost"
        assert found.runs == 3 * len(LINKS)
        assert [worker.stop() for worker in workers] == [0] * len(workers)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_worker_whose_effect_waits_on_a_dead_link_stops_all_the_same(fleet: Fleet) -> None:
    """Python would wait at its exit for the thread that writes it: 60 s."""
    fleet.make_ledger_table()
    trap = Trap("silence", "INSERT INTO ledger")
    with Wire(fleet.url, asked=trap) as wire:
        worker = fleet.ready(database_url=wire.url, grace="2")
        fleet.submit("fault.async", 1)
        fleet.wait_until_ended()
        trap.set()
        fleet.submit("fault.async", 1, effect="fault.row")
        wait_for(lambda: trap.sprung_at is not None, "the effect is being written", 10)
        begun = time.monotonic()
        assert worker.stop() == 0
        took = time.monotonic() - begun
        print(f"FIGURE a stop with an effect on a dead link, grace 2 s: {took:.1f} s")
        assert took < 2 + END_AFTER + 1


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_worker_that_has_only_dead_links_stops_all_the_same(fleet: Fleet) -> None:
    """Outcomes, what did not end, the node's row: each of them waits for its own deadline, and all for one."""
    fleet.make_ledger_table()
    with Wire(fleet.url) as wire:
        worker = fleet.ready(database_url=wire.url, grace="2", max_workers="2")
        fleet.submit("fault.async", 3, seconds=5.0)
        fleet.submit("fault.work", 2, seconds=1.0, effect="fault.row")
        fleet.wait_for_lines("begin", 5)
        wire.silence()
        time.sleep(1.5)
        begun = time.monotonic()
        assert worker.stop() == 0
        took = time.monotonic() - begun
        print(f"FIGURE a stop with all links dead, grace 2 s: {took:.1f} s")
        assert took < 2 + END_AFTER + 1
    assert fleet.worker("--until-empty", max_async="10").wait(60) == 0
    fleet.prove("and the rest afterwards", effects=True)


@pytest.mark.ci
@pytest.mark.timeout(120)
def test_a_handlers_own_transaction_does_not_begin_on_a_dead_link(fleet: Fleet) -> None:
    """Its statements may take as long as its attempt may, the first one is ours: it waited for 300 s."""
    fleet.make_ledger_table()
    trap = Trap("silence", "SET LOCAL idle_in_transaction")
    with Wire(fleet.url, asked=trap) as wire:
        worker = fleet.ready(database_url=wire.url, max_workers="1")
        fleet.submit("fault.transaction", 1)
        fleet.wait_until_ended()
        trap.set()
        fleet.submit("fault.transaction", 1)
        begun = time.monotonic()
        fleet.wait_until_ended(DEADLINE + OUTAGE_DELAY + 8)
        print(f"FIGURE a handler's own transaction on a dead link: completed after {time.monotonic() - begun:.1f} s")
        assert trap.sprung_at is not None
        assert worker.stop() == 0
    found = fleet.prove("own transaction on a dead link", effects=True)
    assert found.runs == 3
