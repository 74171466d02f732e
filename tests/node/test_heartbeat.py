"""The heartbeat goes on, whatever surprises it: a silent one would make every running task run twice."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import nodes
from jobrunner.execution.inline import AsyncPool
from jobrunner.node import heartbeat
from jobrunner.node.heartbeat import Heartbeat
from jobrunner.node.held import Held, Holding
from jobrunner.node.host import Figures, Host
from jobrunner.node.state import Identity, State
from jobrunner.queue.store import Renewal
from tests.both_databases.moves import add, take
from tests.faults.wire import Wire


class _Odd(Host):
    """A host whose figures cannot be had once, in a way that nobody foresaw."""

    failed = 0

    def sample(self) -> Figures:
        if self.failed == 1:
            self.failed = 2
            raise ValueError("could not convert string to float: '/proc'")
        self.failed = self.failed or 1
        return replace(super().sample(), load=42.0)


def test_a_surprise_does_not_end_the_heartbeat(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = open_database(database_url)
    identity = Identity("n", slots=1, types=(), queues=None, address=None, heartbeat_interval=0.1)
    host = _Odd(tmp_path)
    beating = Heartbeat(
        database, identity, State(), Held(), host, lease_seconds=3.0, types=[], renewed=lambda _renewal: None
    )
    beating.start()
    deadline = time.monotonic() + 10
    first = _beat_at(database_url)
    while _beat_at(database_url) == first or host.failed != 2:
        assert time.monotonic() < deadline, "it beat no more"
        time.sleep(0.05)
    beating.stop("test")
    with database.read() as conn:
        assert conn.execute(select(nodes.c.state)).scalar_one() == "stopped"
    database.close()


class _Hung(Host):
    """A host with a mount that does not answer, until somebody lets it."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.free = threading.Event()
        self.asked = 0

    def sample(self) -> Figures:
        self.asked += 1
        self.free.wait(30)
        return replace(super().sample(), load=42.0)


def test_figures_that_do_not_come_hold_up_no_lease(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come in a thread of their own, one at a time, and are shown as soon as they are there."""
    monkeypatch.setattr(heartbeat, "MEASURING", 0.05)
    add(database, task_id="t")
    held, state, host = Held(), State(), _Hung(tmp_path)
    held.add(Holding(take(database)[0], AsyncPool(1)))
    told: list[Renewal] = []
    identity = Identity("n", slots=1, types=(), queues=None, address=None, heartbeat_interval=0.05)
    beating = Heartbeat(database, identity, state, held, host, lease_seconds=0.3, types=[], renewed=told.append)
    beating.start()
    first = len(told)
    deadline = time.monotonic() + 10
    while len(told) < first + 3:
        assert time.monotonic() < deadline, "no lease is renewed"
        time.sleep(0.02)
    assert (state.figures, host.asked) == (Figures(), 1)
    host.free.set()
    while state.figures.load != 42.0:
        assert time.monotonic() < deadline, "figures that come late are not taken"
        time.sleep(0.02)
    beating.stop("test")
    assert all(len(renewal.renewed) == 1 for renewal in told)


def _beat_at(url: str) -> object:
    database = open_database(url)
    with database.begin() as conn:
        found = conn.execute(select(nodes.c.heartbeat_at)).scalar_one()
    database.dispose()
    return found


def test_who_holds_nothing_learns_nothing_of_the_database(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It said each second that the database was back, all through an outage."""
    caplog.set_level("INFO", "jobrunner.node.heartbeat")
    identity = Identity("n", slots=1, types=(), queues=None, address=None, heartbeat_interval=0.1)
    with Wire(postgres_url) as wire:
        database = open_database(wire.url)
        beating = Heartbeat(
            database,
            identity,
            State(),
            Held(),
            Host(tmp_path),
            lease_seconds=0.3,
            types=[],
            renewed=lambda _found: None,
        )
        beating.start()
    deadline = time.monotonic() + 10
    while not caplog.records:
        assert time.monotonic() < deadline, "it did not notice"
        time.sleep(0.05)
    time.sleep(2.5 * heartbeat.RETRY)
    beating.stop("test")
    told = [record.getMessage() for record in caplog.records]
    assert sum("database lost" in one for one in told) == 1, told
    assert not any("database is back" in one for one in told), told
    database.close()
