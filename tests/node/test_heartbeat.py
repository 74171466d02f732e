"""The heartbeat goes on, whatever surprises it: a silent one would make every running task run twice."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from jobrunner.db.engine import open_database
from jobrunner.db.tables import nodes
from jobrunner.node.heartbeat import Heartbeat
from jobrunner.node.held import Held
from jobrunner.node.host import Figures, Host
from jobrunner.node.state import Identity, State


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


def _beat_at(url: str) -> object:
    database = open_database(url)
    with database.begin() as conn:
        found = conn.execute(select(nodes.c.heartbeat_at)).scalar_one()
    database.dispose()
    return found
