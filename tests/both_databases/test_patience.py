"""When silence of others may be taken for their death: not after an outage, nor after one's own absence."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobrunner.background import reaper
from jobrunner.background.reaper import may_reclaim, reclaim_stale
from jobrunner.db import engine
from jobrunner.db.engine import OUTAGE, Database
from jobrunner.errors import DatabaseBusy, DatabaseUnavailable
from jobrunner.queue import views
from jobrunner.runtime.run import prepare_schema
from jobrunner.settings import Settings
from tests.both_databases.moves import add, age_lease, row, take

LEASE, BEAT = 30.0, 10.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds on the process's clock."""
    told = [1_000.0]
    monkeypatch.setattr(engine, "_clock", lambda: told[0])
    return told


def _may(database: Database) -> bool:
    return may_reclaim(database, lease_seconds=LEASE, heartbeat_interval=BEAT)


def _wait(database: Database, clock: list[float], seconds: float) -> bool:
    """Let time pass with a look every two seconds, and tell whether it may judge after the last of them."""
    for _ in range(int(seconds / 2)):
        clock[0] += 2
        with database.read() as conn:
            views.now(conn)
    return _may(database)


def _fresh(database: Database) -> Database:
    return engine.open_database(str(database.url.render_as_string(hide_password=False)))


def test_a_fresh_process_waits_for_lease_and_heartbeat(database: Database, clock: list[float]) -> None:
    """It cannot know whether there was an outage just before."""
    fresh = _fresh(database)
    assert not _wait(fresh, clock, LEASE + BEAT - 2)
    assert _wait(fresh, clock, 2)
    fresh.dispose()


@pytest.mark.parametrize(("pause", "counts"), [(OUTAGE - 3, False), (OUTAGE + 1, True)])
def test_a_pause_without_an_answer_is_an_outage_or_its_own_absence(
    database: Database, clock: list[float], pause: float, counts: bool
) -> None:
    fresh = _fresh(database)
    assert _wait(fresh, clock, 60)
    clock[0] += pause
    assert _may(fresh) is not counts
    assert _wait(fresh, clock, 2) is not counts
    assert _wait(fresh, clock, LEASE + BEAT - 2) is not counts
    assert _wait(fresh, clock, 2)
    fresh.dispose()


def test_a_connection_that_breaks_off_is_no_outage(database: Database, clock: list[float]) -> None:
    """A pooler or a firewall ends one now and then."""
    fresh = _fresh(database)
    assert _wait(fresh, clock, 60)
    with pytest.raises(DatabaseUnavailable), fresh.begin():
        raise OperationalError("SELECT 1", None, psycopg.OperationalError("the connection is lost"))
    assert _may(fresh)
    fresh.dispose()


@pytest.mark.parametrize(
    "refusal", [psycopg.errors.DiskFull("no space left"), psycopg.errors.ReadOnlySqlTransaction("it was demoted")]
)
def test_a_server_that_takes_nobodys_writes_is_away_though_it_answers(
    database: Database, clock: list[float], refusal: Exception
) -> None:
    fresh = _fresh(database)
    assert _wait(fresh, clock, 60)
    add(fresh, task_id="t")
    take(fresh)
    age_lease(fresh, "t", 100)
    with pytest.raises(DatabaseUnavailable), fresh.begin():
        raise DBAPIError.instance("UPDATE", None, refusal, psycopg.Error, connection_invalidated=True)
    assert _wait(fresh, clock, LEASE + BEAT), "it answers those who read all the while"
    assert reclaim_stale(fresh, lease_seconds=LEASE, heartbeat_interval=BEAT) == [], "it takes writes again, of all"
    assert not _wait(fresh, clock, LEASE + BEAT - 2)
    assert row(fresh, "t").status == "running"
    assert _wait(fresh, clock, 2)
    assert len(reclaim_stale(fresh, lease_seconds=LEASE, heartbeat_interval=BEAT)) == 1
    fresh.dispose()


LONG = {
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000000000) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(20)",
}


def test_whoever_waited_for_a_whole_deadline_counts_it_as_an_outage(database: Database, clock: list[float]) -> None:
    """As behind a lock, which keeps others from renewing."""
    fresh = _fresh(database)
    assert _wait(fresh, clock, 60)
    with pytest.raises(DatabaseUnavailable), fresh.begin(deadline=0.2) as conn:
        conn.exec_driver_sql(LONG[conn.dialect.name])
    assert not _wait(fresh, clock, LEASE + BEAT - 2)
    assert _wait(fresh, clock, 2)
    fresh.dispose()


@pytest.mark.parametrize(
    "busy",
    [
        PoolTimeout("nobody gave a connection back in time"),
        OperationalError("UPDATE", None, psycopg.errors.DeadlockDetected("deadlock detected")),
        OperationalError("UPDATE", None, psycopg.errors.QueryCanceled("statement timeout")),
    ],
    ids=["pool", "deadlock", "statement time-out"],
)
def test_a_database_that_is_merely_busy_was_never_away(database: Database, clock: list[float], busy: Exception) -> None:
    fresh = _fresh(database)
    assert _wait(fresh, clock, 60)
    with pytest.raises(DatabaseUnavailable), fresh.begin():
        raise busy
    assert _may(fresh), "else one such event every 40 s would keep dead nodes' tasks for ever"
    fresh.dispose()


def test_a_process_that_starts_takes_leases_only_where_no_other_can_live(database: Database) -> None:
    """On a file, whose lock it holds; on a server others are at work."""
    add(database, task_id="t")
    take(database)
    settings = Settings(database_url=database.url.render_as_string(hide_password=False))
    prepare_schema(database, settings, migrate=settings.is_sqlite)
    assert row(database, "t").status == ("pending" if database.is_sqlite else "running")


def test_a_sweep_that_may_not_touches_nothing(database: Database, clock: list[float]) -> None:
    add(database, task_id="t")
    take(database)
    age_lease(database, "t", 100)
    fresh = _fresh(database)
    assert reclaim_stale(fresh, lease_seconds=LEASE, heartbeat_interval=BEAT) == []
    assert row(database, "t").status == "running"
    assert _wait(fresh, clock, LEASE + BEAT)
    taken = reclaim_stale(fresh, lease_seconds=LEASE, heartbeat_interval=BEAT)
    assert [one.task_id for one in taken] == ["t"]
    fresh.dispose()


def test_who_had_to_wait_to_write_takes_nothing_when_he_may(
    grown_up: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on the tasks, or an effect that takes a file for long, kept others from renewing as well."""
    monkeypatch.setattr(reaper, "PATIENCE", 0.2)
    add(grown_up, task_id="t")
    take(grown_up)
    age_lease(grown_up, "t", 100)
    begun = threading.Event()

    def write() -> None:
        with grown_up.begin() as conn:
            if not grown_up.is_sqlite:
                conn.exec_driver_sql("LOCK TABLE tasks IN SHARE MODE")
            begun.set()
            time.sleep(0.5)

    other = threading.Thread(target=write)
    other.start()
    begun.wait()
    with pytest.raises(DatabaseBusy):
        reclaim_stale(grown_up, lease_seconds=LEASE, heartbeat_interval=BEAT)
    other.join()
    assert reclaim_stale(grown_up, lease_seconds=LEASE, heartbeat_interval=BEAT) == []
    assert row(grown_up, "t").status == "running"
