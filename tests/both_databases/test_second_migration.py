"""From the first schema to the second with tasks in it: keys stay unique while their tasks are open, none is lost."""

from __future__ import annotations

import time
from functools import partial

import psycopg
import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from jobrunner.db import migrate
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.errors import DatabaseBusy


def _add(database: Database, task_id: str, key: str | None, status: str = "pending") -> None:
    ended = {"status": status, "finished_at": db_now()} if status == "completed" else {}
    with database.begin() as conn:
        conn.execute(
            insert(tasks).values(
                task_id=task_id,
                task_type="work",
                payload="{}",
                request_hash="x",
                unique_key=key,
                run_at=db_now(),
                created_at=db_now(),
                **ended,
            )
        )


def test_open_keys_stay_unique_through_the_migration(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    migrate.downgrade(empty_database_url, "0001")
    database = open_database(empty_database_url)
    _add(database, "open", "nightly")
    _add(database, "ended", "nightly", "completed")
    _add(database, "without-1", None)
    _add(database, "without-2", None)

    migrate.upgrade(empty_database_url)

    _add(database, "without-3", None)
    _add(database, "ended-too", "nightly", "completed")
    with pytest.raises(IntegrityError):
        _add(database, "open-too", "nightly")
    with database.read() as conn:
        there = set(conn.execute(select(tasks.c.task_id)).scalars())
    assert there == {"open", "ended", "without-1", "without-2", "without-3", "ended-too"}
    migrate.downgrade(empty_database_url, "0001")
    with pytest.raises(IntegrityError):
        _add(database, "open-too", "nightly")
    database.dispose()


def test_pages_leave_room_for_the_next_version_and_are_vacuumed_early(empty_postgres_url: str) -> None:
    asked = text("SELECT reloptions FROM pg_class WHERE oid = 'tasks'::regclass")
    migrate.upgrade(empty_postgres_url)
    database = open_database(empty_postgres_url)
    with database.read() as conn:
        assert {"fillfactor=70", "autovacuum_vacuum_scale_factor=0.02"} <= set(conn.execute(asked).scalar_one())
    migrate.downgrade(empty_postgres_url, "0001")
    with database.read() as conn:
        assert not conn.execute(asked).scalar_one()
    database.dispose()


def test_a_migration_does_not_wait_for_a_table_while_all_others_wait_behind_it(postgres_url: str) -> None:
    database = open_database(postgres_url)
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as stranger:
        stranger.execute("SELECT 1 FROM tasks")
        began = time.monotonic()
        with pytest.raises(DatabaseBusy), migrate.own_connection(database) as conn:
            conn.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))
        assert time.monotonic() - began < migrate.LOCK_PATIENCE + 2
    database.dispose()


def test_a_migration_that_others_are_in_the_way_of_is_begun_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "AGAIN", 0.1)
    tries = []

    def lock(conn: Connection) -> None:
        tries.append(time.monotonic())
        if len(tries) == 2:
            stranger.rollback()
        conn.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))

    with psycopg.connect(postgres_url.replace("+psycopg", "")) as stranger:
        stranger.execute("SELECT 1 FROM tasks")
        migrate.until_free(partial(migrate.exclusive, postgres_url), lock)
    assert len(tries) == 2
