"""Behind a pooler: nothing is left on connections that strangers get next, and all work is done."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from sqlalchemy import text

from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.faults.fleet import Fleet
from tests.faults.wire import Wire
from tests.postgres.binaries import server_user
from tests.processes import Processes, free_port

ASKED = "enable_seqscan", "enable_sort", "plan_cache_mode", "jit", "idle_in_transaction_session_timeout"
KEY = re.compile(rb"K\x00\x00\x00\x0c(?:.{4})(?=.{4}Z\x00\x00\x00\x05I)", re.DOTALL)  # BackendKeyData at its place


def _other_number(said: bytes) -> bytes:
    """What a pooler tells in place of the server's process number."""
    return KEY.sub(b"K\x00\x00\x00\x0c" + struct.pack("!I", 4_000_000), said)


def _settings(conn: Any) -> list[str]:
    return [conn.execute(f"SHOW {name}").fetchall()[0][0] for name in ASKED]


def _use(database: Database, **data: str) -> list[str]:
    """Submit eight tasks, one by one; returns their ids."""
    made = []
    for _ in range(8):
        with database.single() as conn:
            made.append(store.enqueue(conn, new_task("fault.async", data)).task_id)
        with database.read() as conn:
            assert conn.execute(text("SHOW timezone")).scalar() == "UTC"
    return made


@pytest.mark.parametrize(
    ("query", "sets", "prepares"),
    [("", False, False), ("?prepare_threshold=none", False, False), ("?prepare_threshold=1", True, True)],
)
def test_who_is_told_another_number_sets_and_prepares_nothing(
    postgres_url: str, query: str, sets: bool, prepares: bool
) -> None:
    plain = psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True)
    with plain, Wire(postgres_url, _other_number) as wire:
        usual = _settings(plain)
        database = open_database(wire.url + query, pool_size=1)
        _use(database)
        with database.single() as conn:
            driver = conn.connection.driver_connection
            assert (_settings(driver) != usual) is sets
            found = conn.execute(text("SELECT count(*) > 0 FROM pg_prepared_statements")).scalar()
            assert found is prepares
        with database.begin() as conn:
            assert conn.execute(text(f"SHOW {ASKED[-1]}")).scalar() == "15s", (
                "a stopped process holds no locks for long"
            )
        database.dispose()


def test_without_a_pooler_both_is_done(postgres_url: str) -> None:
    with Wire(postgres_url) as wire:
        database = open_database(wire.url, pool_size=1)
        _use(database)
        with database.single() as conn:
            assert _settings(conn.connection.driver_connection) == ["off", "off", "force_generic_plan", "off", "15s"]
            assert conn.execute(text("SELECT count(*) > 0 FROM pg_prepared_statements")).scalar() is True
        with database.read() as conn:
            assert _settings(conn.connection.driver_connection) == ["on", "on", "force_custom_plan", "off", "15s"]
        database.dispose()


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[str]:
    """A PgBouncer in transaction mode with two server connections; gives the URL of the database behind it."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:  # a user's machine may have none and cannot get it by pip; .ci/run installs it
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    url, port, user = urlsplit(postgres_url), free_port(), server_user()  # it refuses to run as root
    where = urlunsplit(url._replace(netloc=f"{url.username}@127.0.0.1:{port}"))
    with TemporaryDirectory(prefix="pgbouncer-") as home:
        log = Path(home) / "log"
        log.touch()
        (Path(home) / "users.txt").write_text(f'"{url.username}" "{url.password or ""}"\n')
        (Path(home) / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={url.hostname} port={url.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nlogfile = {log}\n"
            f"auth_type = trust\nauth_file = {home}/users.txt\npool_mode = transaction\ndefault_pool_size = 2\n"
        )
        if user is not None:
            for one in (Path(home), *Path(home).iterdir()):
                shutil.chown(one, user)
        process = subprocess.Popen([program, "-q", f"{home}/pgbouncer.ini"], user=user, cwd="/")
        try:
            _wait_for(where, log)
            yield where
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{error}\n{log.read_text()}") from None
            time.sleep(0.05)


@pytest.mark.parametrize(
    "count", [pytest.param(300, marks=pytest.mark.ci), pytest.param(10_000, marks=pytest.mark.long)]
)
def test_pgbouncer_in_transaction_mode(
    processes: Processes, postgres_url: str, pooled: str, tmp_path: Path, count: int
) -> None:
    """Two workers, whose statements meet on the same two server connections in any order."""
    fleet = Fleet(processes, postgres_url, tmp_path)
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as plain:
        usual = _settings(plain)
    workers = [fleet.ready("--node-name", f"n{number}", database_url=pooled, max_workers="1") for number in range(2)]
    client = open_database(pooled)
    fleet.accepted += _use(client, ledger=str(fleet.ledger))
    client.dispose()
    fleet.submit("fault.async", count)
    fleet.submit("fault.work", 4, seconds=0.1)
    took = fleet.wait_until_ended(120)
    fleet.prove(f"PgBouncer in transaction mode, two workers, {took:.1f} s")
    with ExitStack() as both:
        strangers = [
            both.enter_context(psycopg.connect(pooled.replace("+psycopg", ""), prepare_threshold=None))
            for _ in range(2)
        ]
        for stranger in strangers:  # each in a transaction, so that they have one server connection each
            assert _settings(stranger) == usual
            assert stranger.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    assert [worker.stop() for worker in workers] == [0, 0]
    assert [line for worker in workers for line in worker.errors.splitlines() if '"level": "error"' in line] == []
    fleet.close()
