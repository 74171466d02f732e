"""The database goes away, for a moment, for long, for one worker or for one connection."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from jobrunner.db import migrate
from tests.faults.fleet import READY, Fleet, events, wait_for
from tests.faults.spoken import Act
from tests.faults.wire import Wire
from tests.postgres import PrivateServer
from tests.postgres.ending import end_connections
from tests.processes import Processes, free_port

ONCE = {"max_attempts": 1}  # the database's absence is no failure of a task: one try is enough


def _fleet(server: PrivateServer, processes: Processes, home: Path) -> Fleet:
    migrate.upgrade(server.url)
    return Fleet(processes, server.url, home)


@pytest.mark.ci
def test_a_restart_under_load_and_an_outage_longer_than_the_lease(
    private_server: PrivateServer, processes: Processes, tmp_path: Path
) -> None:
    """Two restarts in crash mode under load; then an outage of twice the lease with all slots at work."""
    lease = 1.0
    fleet = _fleet(private_server, processes, tmp_path)
    fleet.make_ledger_table()
    workers = [fleet.worker("--node-name", f"n{number}", lease_seconds=str(lease)) for number in range(2)]
    for worker in workers:
        worker.wait_for_line(READY)
    for task_type in ("fault.work", "fault.async"):
        fleet.submit(task_type, 40, options=ONCE, seconds=0.05, effect="fault.row")
    fleet.submit("fault.work", 40, options=ONCE, seconds=0.05)
    back = []
    for _ in range(2):
        time.sleep(0.4)
        private_server.restart("immediate")
        fleet.close()
        begun = len(fleet.lines("begin"))
        back.append(wait_for(lambda begun=begun: len(fleet.lines("begin")) > begun, "work goes on", 15))  # type: ignore[misc]
    fleet.wait_until_ended(40)
    assert [worker.exit_code for worker in workers] == [None, None]
    found = fleet.prove("2 x restart -m immediate under load", effects=True, work_went_on_after=max(back))
    assert all(row.status == "completed" for row in found.rows)

    before = len(fleet.lines("begin"))
    fleet.submit("fault.work", 4, seconds=2 * lease + 3)
    fleet.wait_for_lines("begin", before + 4)
    private_server.stop("immediate")
    fleet.close()
    time.sleep(2 * lease)
    private_server.start()
    up = time.monotonic()
    fleet.wait_until_ended(20)
    fleet.submit("fault.work", 1)
    fleet.wait_until_ended(5)
    found = fleet.prove("outage of two leases, 4 running", ended_after=time.monotonic() - up)
    assert len(fleet.lines("begin")) == before + 5, "what still ran was run again"
    assert [worker.exit_code for worker in workers] == [None, None]
    for worker in workers:
        assert "Traceback" not in worker.errors
        assert worker.stop() == 0
    fleet.close()


@pytest.mark.ci
def test_terminated_backends_cost_nothing(fleet: Fleet) -> None:
    fleet.make_ledger_table()
    worker = fleet.ready(max_workers="2")
    fleet.submit("fault.work", 30, options=ONCE, seconds=0.1, effect="fault.row")
    fleet.submit("fault.async", 30, options=ONCE, seconds=0.1, effect="fault.row")
    ended = 0
    for _ in range(6):
        ended += end_connections(fleet.url)
        fleet.close()
        time.sleep(0.25)
    assert ended >= 3, "nobody was connected: the test means nothing"
    fleet.wait_until_ended()
    found_now = fleet.prove(f"{ended} backends terminated", effects=True)
    assert all(row.status == "completed" for row in found_now.rows)
    assert worker.exit_code is None
    assert worker.stop() == 0


@pytest.mark.ci
def test_a_link_that_died_in_silence_is_given_up_within_the_deadline(fleet: Fleet) -> None:
    """The other worker takes over; the one behind the dead link regains control, and works again once it is healed."""
    with Wire(fleet.url) as wire:
        behind = fleet.ready("--node-name", "behind", max_workers="1", database_url=wire.url)
        fleet.submit("fault.work", 1, seconds=0.5)
        fleet.wait_for_lines("begin", 1)
        wire.silence()
        silent = time.monotonic()
        wait_for(lambda: bool(events(behind, "database lost")), "the heartbeat notices", 8.0)
        noticed = time.monotonic() - silent
        other = fleet.ready("--node-name", "other", max_workers="1")
        fleet.wait_until_ended()
        fleet.submit("fault.work", 2)
        fleet.wait_until_ended()
        assert other.stop() == 0
        wire.heal()
        wait_for(lambda: bool(events(behind, "database is back")), "the heartbeat is back", 12.0)
        fleet.submit("fault.work", 2)
        fleet.wait_until_ended(12)
        regained = time.monotonic() - silent
        fleet.prove("a link died in silence", noticed_after=noticed, at_work_again_after=regained)
        assert noticed < 6.5
        assert behind.stop() == 0


@pytest.mark.long
def test_who_starts_as_a_dead_network_comes_back_takes_nothing(fleet: Fleet) -> None:
    """No server was restarted, and the one that starts saw no outage: only its own youth tells it to wait."""
    lease = 6.0
    with Wire(fleet.url) as wire:
        cut_off = fleet.ready(database_url=wire.url, lease_seconds=str(lease))
        fleet.submit("fault.async", 4, seconds=3.5 * lease)
        fleet.wait_for_lines("begin", 4)
        wire.silence()
        time.sleep(lease + 1.0)
        wire.heal()
        healed = time.monotonic()
        fresh = fleet.ready(database_url=wire.url, lease_seconds=str(lease))
        wait_for(lambda: bool(events(cut_off, "database is back")), "its heartbeat is back", 12)
        back = time.monotonic() - healed
        fleet.wait_until_ended(40)
        assert fleet.prove("a dead network, and a worker that starts after it", back_after=back).lost == 0
        assert [one.stop() for one in (cut_off, fresh)] == [0, 0]


@pytest.mark.ci
def test_a_start_that_is_broken_off_is_begun_anew(fleet: Fleet) -> None:
    """The server ends the connection while the schema is looked at, and twice while the node's row is written."""
    broken_off = 0

    def breaking(said: bytes) -> bytes:
        nonlocal broken_off
        if b"version_num" in said and broken_off < 1:  # the answer that names the schema
            broken_off += 1
            raise OSError("the link ends here")
        return said

    def asked(statement: str) -> Act:
        nonlocal broken_off
        if "INSERT INTO nodes" in statement and broken_off < 3:
            broken_off += 1
            return "told" if broken_off == 2 else "before"
        return "pass"

    with Wire(fleet.url, breaking, asked=asked) as wire:
        worker = fleet.ready(database_url=wire.url)
        assert broken_off == len(events(worker, "waiting for the database")) == 3
        fleet.submit("fault.work", 2)
        fleet.wait_until_ended()
        assert worker.stop() == 0
    fleet.prove("a start broken off three times")


def test_a_start_without_a_database_tells_how_long_it_will_wait(fleet: Fleet) -> None:
    nowhere = fleet.worker(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    nowhere.wait_for_line(r'"event": "waiting for the database", "gives_up_in": (29|30)')
    nowhere.wait_for_line(r'"event": "waiting for the database", "gives_up_in": 2[78]')
    assert nowhere.stop() == 0


@pytest.mark.ci
def test_a_stop_without_a_database_names_what_will_run_again(apart: Fleet, private_server: PrivateServer) -> None:
    worker = apart.ready(max_workers="3", lease_seconds="30", heartbeat_interval="1", grace="0.5")
    done = apart.submit("fault.work", 2, seconds=5.0)
    cut_short = apart.submit("fault.work", seconds=60.0)
    apart.wait_for_lines("begin", 3)
    private_server.stop("immediate")
    apart.close()
    apart.wait_for_lines("end", 2)
    time.sleep(0.2)
    assert worker.stop() == 0
    [draining] = events(worker, "draining")
    assert json.loads(draining)["unrecorded"] == 2
    told = json.loads(events(worker, "leases are left to expire")[0])
    assert sorted(told["ended_but_not_recorded"]) == sorted(done)
    assert told["not_ended"] == cut_short
    assert told["count"] == 3
    private_server.start()
