"""Who holds a transaction open for long is named, as long as it stands."""

from __future__ import annotations

import time

import psycopg
import pytest

from jobrunner.background.alarm import Alarm
from jobrunner.db.engine import open_database

LOGGER = "jobrunner.background.alarm"
OLD = 0.2  # seconds


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


def test_an_old_transaction_is_told_once_and_its_end_too(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", LOGGER)
    database = open_database(postgres_url)
    alarm, eager = Alarm(database, old=OLD), Alarm(database, old=OLD, again=0.0)
    alarm.look()
    assert caplog.records == []
    with psycopg.connect(_plain(postgres_url), application_name="report") as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM tasks")
        time.sleep(OLD)
        for _ in range(3):
            alarm.look()
        [told] = caplog.records
        assert "an old transaction is open" in told.getMessage()
        assert f"process {other.info.backend_pid} of " in str(told.__dict__)
        assert "(report), idle in transaction" in str(told.__dict__)
        for _ in range(2):
            eager.look()
        assert len(caplog.records) == 3
    for _ in range(2):
        alarm.look()
    [gone] = caplog.records[3:]
    assert "no old transaction is open any more" in gone.getMessage()
    database.dispose()


def test_an_idle_connection_alone_is_no_reason(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    database = open_database(postgres_url)
    with psycopg.connect(_plain(postgres_url)) as other:
        other.execute("SELECT count(*) FROM tasks")  # at read committed it keeps no snapshot
        time.sleep(OLD)
        Alarm(database, old=OLD).look()
    database.dispose()
    assert caplog.records == []


def test_on_sqlite_there_is_nobody_else(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    database = open_database(sqlite_url)
    Alarm(database, old=0.0).look()
    database.dispose()
    assert caplog.records == []
