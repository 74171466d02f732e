"""The database's own clock, by which everything is decided, leaps ahead or goes back while tasks run."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner.background import schedules
from jobrunner.db import migrate
from tests.faults import faketime
from tests.faults.fleet import LEASE, Fleet, events
from tests.postgres import PrivateServer
from tests.processes import Processes

BEAT = 0.5  # seconds between two heartbeats of a fleet's workers
RUNNING = 8

pytestmark = [pytest.mark.long, pytest.mark.timeout(150)]


@pytest.fixture
def skew() -> Iterator[Path]:
    """What the server's clock is wrong by; where the server's user may read it."""
    home = Path(tempfile.mkdtemp(prefix="clock-", dir="/tmp"))
    home.chmod(0o755)
    told = home / "skew"
    told.write_text("+0s")
    yield told
    shutil.rmtree(home)


@pytest.fixture
def fleet(skew: Path, processes: Processes, tmp_path: Path) -> Iterator[Fleet]:
    with PrivateServer(loader=faketime.loader(skew)) as server:
        migrate.upgrade(server.url)
        made = Fleet(processes, server.url, tmp_path)
        yield made
        made.close()


@pytest.mark.parametrize("leap", ["+3600s", "-90s"])
def test_a_leap_of_the_servers_clock_runs_nothing_twice(fleet: Fleet, skew: Path, leap: str) -> None:
    workers = [fleet.ready("--node-name", name, max_workers="4") for name in ("one", "other")]
    data = {"ledger": str(fleet.ledger)}
    with fleet.database.begin() as conn:
        schedules.save(conn, "tick", every=1.0, task_type="fault.async", payload=data, allow_unknown=True)
    ids = fleet.submit("fault.async", RUNNING, seconds=4 * LEASE)
    fleet.wait_for_lines("begin", RUNNING)
    time.sleep(1.5 * LEASE)  # what runs is renewed, and everybody may judge
    before = fleet.now()
    skew.write_text(leap)
    leaped = (fleet.now() - before).total_seconds()
    assert abs(leaped - float(leap.rstrip("s"))) < 5, "the clock stayed: the test means nothing"
    fleet.wait_for_lines("end", RUNNING)
    with fleet.database.begin() as conn:
        schedules.pause(conn, "tick")
    late = fleet.submit("fault.work", 20)
    fleet.wait_until_ended()
    assert [fleet.row(one).attempt for one in (*ids, *late)] == [1] * (RUNNING + 20)
    found = fleet.prove(f"the server's clock leaps by {leap} while {RUNNING} run", firings=len(fleet.history().firings))
    assert found.lost == 0
    told = sum(len(events(worker, "the database's clock went ahead")) for worker in workers)
    assert (told > 0) == leap.startswith("+")
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_worker_that_dies_after_the_leap_is_still_replaced(fleet: Fleet, skew: Path) -> None:
    dying = fleet.ready(queues="default")
    other = fleet.ready(queues="default,other")
    living = fleet.submit("fault.work", options={"queue": "other"}, seconds=4 * LEASE)
    fleet.wait_for_lines("begin", 1)
    dead = fleet.submit("fault.work", 4, seconds=4 * LEASE)
    fleet.wait_for_lines("begin", 4)  # as many as there are slots
    skew.write_text("+3600s")
    time.sleep(BEAT)
    dying.kill()
    took = fleet.wait_for_lines("begin", 5)
    assert took < LEASE + BEAT + 5
    fleet.wait_until_ended()
    found = fleet.prove("a worker dies half a second after its server's clock went ahead by an hour", begun_again=took)
    assert fleet.row(living[0]).attempt == 1
    assert sorted(fleet.row(one).attempt for one in dead)[-2:] == [2, 2]
    assert found.lost == 2, "of the dead one's, and of nobody else's"
    assert other.stop() == 0
