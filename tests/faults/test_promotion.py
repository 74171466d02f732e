"""The server dies or is demoted, and another one takes its place: workers find it by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobrunner.db import migrate
from tests.faults.client import Steady
from tests.faults.fleet import READY, Fleet, wait_for
from tests.faults.wire import Wire
from tests.postgres import PrivateServer
from tests.postgres.ending import end_connections
from tests.postgres.standby import Standby, ask, follow_synchronously
from tests.processes import Processes

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobrunner'"


@dataclass
class Pair:
    """A server, its standby, the wire between them, and a fleet that knows both; ``address`` is as libpq names them."""

    first: PrivateServer
    second: Standby
    between: Wire
    fleet: Fleet
    address: str


@pytest.fixture
def pair(private_server: PrivateServer, processes: Processes, tmp_path: Path) -> Iterator[Pair]:
    migrate.upgrade(private_server.url)
    with ExitStack() as opened:
        between = opened.enter_context(Wire(private_server.url))
        second = opened.enter_context(Standby(private_server, between.url))
        hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in (private_server, second))
        url = f"postgresql+psycopg://postgres@/postgres?{hosts}&target_session_attrs=read-write"
        fleet = Fleet(processes, url, tmp_path)
        opened.callback(fleet.close)
        both = ",".join(f"127.0.0.1:{server.port}" for server in (private_server, second))
        address = f"postgresql://postgres@{both}/postgres?target_session_attrs=read-write"
        yield Pair(private_server, second, between, fleet, address)


@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
def test_a_promoted_standby_goes_on_with_what_was_acknowledged(pair: Pair, synchronous: bool) -> None:
    """The wire between the two falls silent a moment before the first one dies: what it alone has, is lost."""
    fleet = pair.fleet
    if synchronous:
        follow_synchronously(pair.first)
    workers = [fleet.worker("--node-name", f"n{number}", database_url=pair.address) for number in range(2)]
    for worker in workers:
        worker.wait_for_line(READY)
    client = Steady(fleet.url, fleet.ledger, 0.002)
    client.start()
    wait_for(lambda: len(client.accepted) > 200, "tasks are accepted", 30)
    pair.between.silence()
    time.sleep(0.5)
    pair.first.stop("kill")
    died = time.monotonic()
    fleet.close()
    begun = len(fleet.lines("begin"))
    pair.second.promote()
    promoted = time.monotonic()
    wait_for(lambda: len(fleet.lines("begin")) > begun, "work goes on", 30)
    claimed = time.monotonic()
    known = len(client.accepted)
    wait_for(lambda: len(client.accepted) > known + 100, "tasks are accepted again", 30)
    (pair.first.data / "standby.signal").touch()
    pair.first.start()
    time.sleep(1)
    end_connections(pair.second.url)
    known = len(client.accepted)
    wait_for(lambda: len(client.accepted) > known + 100, "tasks are accepted beside the old one", 30)
    client.stop()
    fleet.close()
    fleet.wait_until_ended(60)
    assert ask(pair.first, ["SELECT pg_is_in_recovery()"]) == [(True,)]
    assert ask(pair.first, [CONNECTED]) == [(0,)], "somebody stays with a server that takes no writes"
    fleet.accepted = client.accepted
    figures: dict[str, Any] = {"promoted_after": promoted - died, "first_claim_after_promotion": claimed - promoted}
    if synchronous:
        found = fleet.prove("promotion of a synchronous standby", **figures)
        assert found.lost == 0
    else:
        there = {row.task_id for row in fleet.history().rows}
        lost = len(set(client.accepted) - there)
        print(f"FIGURE promotion of an asynchronous standby: {len(client.accepted)} accepted, {lost} lost, {figures}")
        assert lost > 0, "both were alike when the first one died: the test means nothing"
    assert claimed - promoted < 10
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_demoted_server_that_still_answers_is_left(pair: Pair) -> None:
    """It takes no writes any more (25006), keeps every link, and was promoted away from."""
    fleet = pair.fleet
    follow_synchronously(pair.first)
    worker = fleet.ready(database_url=pair.address)
    client = Steady(fleet.url, fleet.ledger, 0.002)
    client.start()
    wait_for(lambda: len(client.accepted) > 100, "tasks are accepted", 30)
    ask(pair.first, ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"])
    time.sleep(0.5)
    pair.second.promote()
    promoted = time.monotonic()
    known, begun = len(client.accepted), len(fleet.lines("begin"))
    wait_for(lambda: len(client.accepted) > known + 50, "tasks are accepted again", 30)
    wait_for(lambda: len(fleet.lines("begin")) > begun + 50, "work goes on", 30)
    took = time.monotonic() - promoted
    client.stop()
    fleet.close()
    fleet.wait_until_ended(60)
    left = wait_for(lambda: ask(pair.first, [CONNECTED]) == [(0,)], "nobody stays with the demoted one", 40)
    fleet.accepted = client.accepted
    found = fleet.prove("a demoted server that still answers", work_went_on_after=took, left_for_good_after=left)
    assert found.lost == 0
    assert worker.stop() == 0
