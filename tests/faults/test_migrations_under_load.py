"""The schema goes back and forth while workers drain: by several commands at once, one of them killed in the middle."""

from __future__ import annotations

import signal
import time
from typing import Any

import psycopg
import pytest

from jobrunner.db import migrate
from tests.faults.client import Steady
from tests.faults.fleet import READY, Fleet
from tests.processes import Process, Processes

HELD = 5.0  # seconds for which a stranger's transaction holds the table that is migrated
ROUNDS = 6
STALL = 2.0  # seconds for which nobody may be kept from the queue: a second's patience, and a busy machine


@pytest.mark.long
@pytest.mark.timeout(180)
def test_migrations_under_load_keep_nobody_waiting_and_lose_nothing(fleet: Fleet, processes: Processes) -> None:
    told = {"JOBRUNNER_DATABASE_URL": fleet.url}

    def start(*command: str, failpoint: str = "") -> Process:
        return processes.start("db", *command, env={**told, "JOBRUNNER_FAILPOINT": failpoint})

    workers = [fleet.worker("--node-name", f"n{number}") for number in range(2)]
    for worker in workers:
        worker.wait_for_line(READY)
    client = Steady(fleet.url, fleet.ledger, 0.02)
    client.start()
    for _ in range(ROUNDS):
        assert start("downgrade", "--yes").wait(60) == 0
        halfway = start("upgrade", failpoint="migrate-before-commit:kill")
        assert halfway.wait(60) == -signal.SIGKILL, "the tables were changed, and nothing of it stands"
        several = [start("upgrade") for _ in range(2)]
        assert [one.wait(60) for one in several] == [0, 0]
    without = client.longest
    assert start("downgrade", "--yes").wait(60) == 0
    client.longest = 0.0
    with psycopg.connect(fleet.url.replace("+psycopg", "")) as stranger:
        stranger.execute("SELECT 1 FROM tasks LIMIT 1")
        late = start("upgrade")
        time.sleep(HELD)
        assert late.exit_code is None, "nobody was in its way: the test means nothing"
    assert late.wait(60) == 0
    client.stop()
    fleet.accepted = client.accepted
    fleet.wait_until_ended(60)
    with fleet.database.read() as conn:
        assert migrate.current(conn) == migrate.head()
    longest: dict[str, Any] = {"stalled_ms": without * 1_000, "stalled_ms_behind_a_stranger": client.longest * 1_000}
    found = fleet.prove(f"{ROUNDS + 1} migrations there and back, {ROUNDS} killed before their COMMIT", **longest)
    assert found.lost == 0
    assert [worker.stop() for worker in workers] == [0, 0]
    assert max(without, client.longest) < STALL
