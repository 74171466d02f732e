"""A connection goes back as it came, whatever its user did, and whatever became of the commit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from jobrunner.db.engine import Database, open_database
from jobrunner.errors import DatabaseUnavailable


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url, pool_size=1)
    yield opened
    opened.dispose()


def test_a_commit_that_fails_leaves_nothing_behind(database: Database) -> None:
    with database.begin() as conn:
        conn.execute(text("CREATE TABLE boxes (id integer PRIMARY KEY)"))
        deferred = "REFERENCES boxes (id) DEFERRABLE INITIALLY DEFERRED"
        conn.execute(text(f"CREATE TABLE labels (box integer {deferred})"))
    for _ in range(3):
        with pytest.raises(IntegrityError), database.begin() as conn:
            if database.is_sqlite:
                assert conn.execute(text("PRAGMA foreign_keys")).scalar() == 1
            conn.execute(text("INSERT INTO labels VALUES (7)"))
    with database.begin() as conn:
        conn.execute(text("INSERT INTO boxes VALUES (7)"))
        conn.execute(text("INSERT INTO labels VALUES (7)"))
    with database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM labels")).scalar() == 1


def test_what_one_user_sets_does_not_hold_for_the_next(database: Database) -> None:
    for _ in range(2):
        with database.begin() as conn:
            assert not conn.get_execution_options()
            conn.execution_options(stream_results=True)
    with database.begin(idle=5) as conn:
        assert conn.execute(text("SELECT 1")).scalar() == 1


def test_a_use_leaves_nothing_that_grows(database: Database) -> None:
    left = []
    for _ in range(5):
        with database.begin() as conn:
            record = conn.connection._connection_record
            left.append(len(record.finalize_callback))
    assert left == [left[0]] * 5


def test_a_transaction_is_one_and_a_single_statement_another(database: Database) -> None:
    with database.begin() as conn:
        conn.execute(text("CREATE TABLE boxes (id integer)"))
    with pytest.raises(ZeroDivisionError), database.begin() as conn:
        conn.execute(text("INSERT INTO boxes VALUES (1)"))
        raise ZeroDivisionError
    if not database.is_sqlite:
        with pytest.raises(ZeroDivisionError), database.single() as conn:
            conn.execute(text("INSERT INTO boxes VALUES (2)"))
            raise ZeroDivisionError
    with database.read() as conn:
        assert conn.execute(text("SELECT id FROM boxes")).scalars().all() == ([] if database.is_sqlite else [2])


def test_one_that_was_closed_while_idle_costs_one_use(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=1)
    with database.single() as conn:
        conn.execute(text("SELECT 1"))
        driver = conn.connection.driver_connection
    assert driver is not None
    driver.close()
    with pytest.raises(DatabaseUnavailable), database.begin() as conn:
        conn.execute(text("SELECT 1"))
    with database.begin() as conn:
        assert conn.execute(text("SELECT 1")).scalar() == 1
    database.dispose()
