"""From the first schema to the second with tasks in it: keys stay unique while their tasks are open, none is lost."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from jobrunner.db import migrate
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now


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
