"""A server with limits of its own: short time-outs, serializable transactions, hardly any connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from jobrunner.db import migrate
from tests.faults.fleet import READY, Fleet, wait_for
from tests.postgres import PrivateServer
from tests.postgres.ending import end_connections
from tests.processes import Processes

pytestmark = [pytest.mark.long, pytest.mark.timeout(150)]

PATIENT: dict[str, Any] = {"lease_seconds": "4", "max_workers": "2", "max_async": "50"}


@contextmanager
def _set(fleet: Fleet, **settings: str) -> Iterator[None]:
    """For all sessions of this database that begin inside the block."""
    with psycopg.connect(fleet.url.replace("+psycopg", ""), autocommit=True) as conn:
        for setting, value in settings.items():
            conn.execute(f"ALTER DATABASE {conn.info.dbname} SET {setting} = '{value}'".encode())
        yield
        conn.execute(f"ALTER DATABASE {conn.info.dbname} RESET ALL".encode())
    fleet.close()


def _end_sessions(fleet: Fleet) -> None:
    """So that the workers' next ones begin under the new settings."""
    end_connections(fleet.url)
    fleet.close()


def _work(fleet: Fleet, count: int) -> None:
    fleet.submit("fault.async", count)
    fleet.submit("fault.async", 40, seconds=1.0, effect="fault.row")
    fleet.submit("fault.work", 8, seconds=5.0)
    fleet.submit("fault.fail", 10, until_attempt=3)
    fleet.submit("fault.transaction", 10)


def test_time_outs_of_50_ms_are_lived_with(fleet: Fleet) -> None:
    """Beside statements that take longer than that by themselves: another's lock on every task, again and again."""
    fleet.make_ledger_table()
    plain = fleet.url.replace("+psycopg", "")
    workers = [fleet.ready("--node-name", f"n{number}", **PATIENT) for number in range(3)]  # a start may be refused
    _work(fleet, 3_000)
    with _set(fleet, statement_timeout="50ms", lock_timeout="50ms"):
        _end_sessions(fleet)
        begun = time.monotonic()
        locked = 0
        with psycopg.connect(plain, autocommit=True, options="-c statement_timeout=0 -c lock_timeout=0") as other:
            while fleet.open_tasks() and time.monotonic() - begun < 90:
                with other.transaction():
                    other.execute("LOCK TABLE tasks IN SHARE ROW EXCLUSIVE MODE")
                    time.sleep(0.15)
                locked += 1
                time.sleep(0.5)
        fleet.wait_until_ended(10)
        took = time.monotonic() - begun
    found = fleet.prove("statement_timeout and lock_timeout 50 ms", effects=True, locked=locked, took=took)
    assert found.lost == 0
    assert [worker.stop() for worker in workers] == [0] * 3


def test_a_lock_that_outlasts_the_lease_costs_no_attempt(fleet: Fleet) -> None:
    """As CREATE INDEX takes one: nobody can renew, and whoever would take back what looks stale waits just as long."""
    workers = [fleet.ready("--node-name", f"n{number}", **PATIENT) for number in range(2)]
    held = 12.0
    fleet.submit("fault.async", 16, seconds=held + 14)
    fleet.submit("fault.work", 4, seconds=held + 14)
    fleet.wait_for_lines("begin", 20, 40)
    time.sleep(7.0)  # until each lease was renewed
    with psycopg.connect(fleet.url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE tasks IN SHARE ROW EXCLUSIVE MODE")
        time.sleep(held)
    fleet.wait_until_ended(60)
    found = fleet.prove("a lock of 12 s, a lease of 4 s")
    assert found.lost == 0
    assert found.runs == 20
    assert [worker.stop() for worker in workers] == [0] * 2


def test_serializable_by_default_is_lived_with(fleet: Fleet) -> None:
    fleet.make_ledger_table()
    with _set(fleet, default_transaction_isolation="serializable"):
        workers = [fleet.worker("--node-name", f"n{number}", **PATIENT) for number in range(3)]
        for worker in workers:
            worker.wait_for_line(READY)
        begun = time.monotonic()
        for _ in range(6):
            _work(fleet, 500)
        fleet.wait_until_ended(100)
        took = time.monotonic() - begun
        with fleet.database.read() as conn:
            failed = conn.execute(
                text("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")
            ).scalar_one()
        assert [worker.stop() for worker in workers] == [0] * 3
    found = fleet.prove("serializable by default", effects=True, took=took, rolled_back=failed)
    assert found.lost == 0


def test_connections_that_others_hold_are_waited_for(processes: Processes, tmp_path: Path) -> None:
    """Of fifteen twelve are held: the workers cannot open another one, and keep what they hold alive."""
    with PrivateServer(settings={"max_connections": "15", "superuser_reserved_connections": "3"}) as server:
        migrate.upgrade(server.url)
        granted = [
            "CREATE ROLE worker LOGIN",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO worker",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO worker",
        ]
        with psycopg.connect(server.url, autocommit=True) as owner:
            fleet = Fleet(processes, server.url, tmp_path)
            for one in granted:
                owner.execute(one.encode())
            told = server.url.replace("postgres@", "worker@")
            workers = [fleet.worker("--node-name", f"n{n}", database_url=told, lease_seconds="4") for n in range(2)]
            for worker in workers:
                worker.wait_for_line(READY)
            fleet.submit("fault.work", 4, seconds=10.0)
            fleet.wait_for_lines("begin", 4)
            fleet.submit("fault.async", 300, seconds=0.01)
            fleet.close()
            with ExitStack() as held:
                holding = 0
                ended = time.monotonic() + 8
                while time.monotonic() < ended:
                    try:
                        held.enter_context(psycopg.connect(told, connect_timeout=2))
                        holding += 1
                    except psycopg.OperationalError:
                        time.sleep(0.02)
                    if holding and time.monotonic() < ended - 6:  # who is cut off has to come back among strangers
                        end_connections(server.url)
            wait_for(lambda: fleet.open_tasks() == 0, "all of it ends", 40)
            found = fleet.prove("connections exhausted for 8 s", held=holding)
            assert holding >= 10, "there were connections for all: the test means nothing"
            assert found.lost == 0
            assert found.runs == 304
            assert [worker.stop() for worker in workers] == [0, 0]
            fleet.close()
