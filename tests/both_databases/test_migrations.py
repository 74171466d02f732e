"""One history for both databases: up, down, twice at once, and what does not fit is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, update

from jobrunner.db import migrate
from jobrunner.db.engine import open_database
from jobrunner.db.lock import FileLock
from jobrunner.db.market import METADATA
from jobrunner.db.tables import schema_info
from jobrunner.errors import DatabaseLocked, SchemaMismatch

ROOT = Path(__file__).resolve().parents[2]


def test_the_migrated_schema_is_the_one_in_code(database_url: str) -> None:
    database = open_database(database_url)
    with database.begin() as conn:
        migrate.check(conn)
        assert compare_metadata(MigrationContext.configure(conn), METADATA) == []
        assert int(migrate.head()) == migrate.SCHEMA
        conn.exec_driver_sql("ALTER TABLE tasks ADD COLUMN stray TEXT")
        assert len(compare_metadata(MigrationContext.configure(conn), METADATA)) == 1, "a drift is seen"
    database.dispose()


def test_partial_indexes_and_checks_are_there(database_url: str) -> None:
    database = open_database(database_url)
    with database.begin() as conn:
        looked = inspect(conn)
        assert {check["name"] for check in looked.get_check_constraints("tasks")} >= {
            "ck_tasks_status",
            "ck_tasks_running_has_token",
            "ck_tasks_ended_has_time",
        }
        assert {index["name"] for index in looked.get_indexes("tasks")} >= {"ix_tasks_due", "uq_tasks_open_unique_key"}
    database.dispose()


def test_down_and_up_again(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    migrate.upgrade(empty_database_url)
    migrate.downgrade(empty_database_url, "base")
    database = open_database(empty_database_url)
    with database.begin() as conn:
        assert set(inspect(conn).get_table_names()) <= {"alembic_version"}
    migrate.upgrade(empty_database_url)
    with database.begin() as conn:
        migrate.check(conn)
    database.dispose()


@pytest.mark.ci
def test_two_migrating_at_once_do_not_hurt_each_other(empty_postgres_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        commands = [
            pool.submit(
                subprocess.run,
                [sys.executable, "-m", "alembic", "upgrade", "head"],
                cwd=ROOT,
                env={**os.environ, "JOBRUNNER_DATABASE_URL": empty_postgres_url},
                capture_output=True,
                text=True,
                check=False,
            )
            for _ in range(3)
        ]
        for command in commands:
            ended = command.result(timeout=60)
            assert ended.returncode == 0, ended.stderr
    database = open_database(empty_postgres_url)
    with database.begin() as conn:
        migrate.check(conn)
    database.dispose()


def test_a_sqlite_file_in_use_is_not_migrated(empty_sqlite_url: str) -> None:
    owner = FileLock(empty_sqlite_url.removeprefix("sqlite:///"))
    owner.take("http://127.0.0.1:8900")
    with pytest.raises(DatabaseLocked, match="in use by another part of this program") as refused:
        migrate.upgrade(empty_sqlite_url)
    assert refused.value.owner == {"pid": os.getpid(), "url": "http://127.0.0.1:8900", "here": True}
    owner.drop()
    migrate.upgrade(empty_sqlite_url)


def test_an_empty_database_is_refused_with_the_command_to_run(empty_database_url: str) -> None:
    database = open_database(empty_database_url)
    with database.begin() as conn, pytest.raises(SchemaMismatch, match="run: jobrunner db upgrade"):
        migrate.check(conn)
    database.dispose()


def test_only_older_code_is_refused(database_url: str) -> None:
    database = open_database(database_url)
    oldest = update(schema_info).where(schema_info.c.key == "oldest_code")
    with database.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
        migrate.check(conn)
        conn.execute(oldest.values(value=str(migrate.SCHEMA + 1)))
        with pytest.raises(SchemaMismatch, match="pip install --upgrade jobrunner"):
            migrate.check(conn)
    database.dispose()
    migrate.upgrade(database_url)
    with pytest.raises(SchemaMismatch, match="newer code brought the database to 0099"):
        migrate.downgrade(database_url)


def test_a_revision_that_nobody_knows(database_url: str) -> None:
    with pytest.raises(SchemaMismatch, match="nobody"):
        migrate.downgrade(database_url, "nobody")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with pytest.raises(SchemaMismatch, match=r"x\.db is no SQLite database"):
        migrate.upgrade(url)
    database = open_database(url)
    with pytest.raises(SchemaMismatch, match="move it"), database.read() as conn:
        migrate.check(conn)
    database.dispose()
