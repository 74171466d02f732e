"""The disk under the tasks is full: nothing is taken, nothing runs twice, and all goes on once there is room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import psycopg
import pytest

from jobrunner.db import migrate
from tests.faults.fleet import LEASE, Fleet, wait_for
from tests.faults.small_disk import small_disk
from tests.postgres import PrivateServer
from tests.postgres.standby import ask
from tests.processes import Processes, free_port

SIZE = 48  # megabytes, of which a fresh database takes eight
FULL = 7 * LEASE  # seconds
FILLER = "CREATE TABLE IF NOT EXISTS filler (text text) TABLESPACE small"
FILL = "INSERT INTO filler SELECT repeat(md5(n::text), 60) FROM generate_series(1, {rows}) AS n"

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.fixture
def small(private_server: PrivateServer) -> Iterator[str]:
    """The URL of a database whose tables lie on a file system of their own, of a few megabytes."""
    with small_disk(private_server, SIZE) as inside:
        ask(private_server, [f"CREATE TABLESPACE small LOCATION '{inside}'", "CREATE DATABASE jobs TABLESPACE small"])
        url = private_server.url_of("jobs")
        migrate.upgrade(url)
        yield url
        private_server.stop("fast")


def _fill(url: str) -> None:
    """To the last page."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(FILLER)
        for rows in (5_000, 500, 50, 4, 1):
            with suppress(psycopg.errors.DiskFull):
                while True:
                    conn.execute(FILL.format(rows=rows).encode())


def _post(url: str, task_id: str, ledger: Path, words: str = "") -> httpx2.Response:
    data = {"ledger": str(ledger), "effect": words}
    body = {"task_id": task_id, "task_type": "fault.async", "task_data": data}
    return httpx2.post(f"{url}/api/v1/task/execute", json=body, timeout=20)


def test_a_full_disk_is_waited_out(small: str, processes: Processes, tmp_path: Path) -> None:
    fleet = Fleet(processes, small, tmp_path)
    door = fleet.ready(port=free_port())
    door.wait_healthy()
    other = fleet.ready()
    fleet.submit("fault.work", 4, seconds=FULL + 4.0)
    fleet.wait_for_lines("begin", 4)
    fleet.submit("fault.async", 500, options={"delay": 2.0})
    fleet.close()
    _fill(small)
    codes: list[int] = []
    full = time.monotonic()
    while time.monotonic() - full < FULL:
        _fill(small)  # what was freed inside it meanwhile
        answer = _post(door.url, f"full-{len(codes)}", fleet.ledger)
        codes.append(answer.status_code)
        if answer.status_code in (200, 202):  # there is still room on some page
            fleet.accepted.append(f"full-{len(codes) - 1}")
        else:
            assert answer.status_code in (503, 507), answer.text
            assert answer.headers["Retry-After"]
        assert httpx2.get(f"{door.url}/healthz", timeout=10).status_code == 200
    refused = sum(code in (503, 507) for code in codes)
    assert refused > 5, f"there was room all the time: the test means nothing ({codes})"
    assert door.exit_code is None
    waiting = fleet.open_tasks()
    _ask(small, "DROP TABLE filler")
    freed = time.monotonic()
    wait_for(lambda: fleet.open_tasks() < waiting, "work goes on", 20)
    on = time.monotonic() - freed
    assert wait_for(lambda: _post(door.url, "after", fleet.ledger).status_code < 300, "it takes tasks again", 20) < 20
    fleet.accepted.append("after")
    fleet.wait_until_ended(40)
    found = fleet.prove(
        f"disk full for {FULL:g} s, {refused} of {len(codes)} refused", waited=waiting, went_on_after=on
    )
    assert found.lost == 0, "who cannot write cannot tell silence from a full disk"
    assert found.runs == len(found.accepted)
    assert other.exit_code is None
    assert [door.stop(), other.stop()] == [0, 0]
    fleet.close()


def _ask(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement.encode())
