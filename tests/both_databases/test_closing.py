"""The end of a process's work on a database: nothing is written after it, and SQLite's one file holds everything."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from jobrunner.db import migrate
from jobrunner.db.engine import Database, open_database
from jobrunner.db.lock import FileLock
from jobrunner.errors import DatabaseUnavailable, SettingsError
from tests.both_databases.moves import add, row


def test_nothing_is_written_after_the_close(database: Database) -> None:
    add(database, task_id="before")
    assert database.close()
    with pytest.raises(DatabaseUnavailable, match="closed"):
        add(database, task_id="after")


def test_the_close_waits_for_who_still_writes(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with database.begin():
            inside.set()
            go_on.wait(10)

    writer = threading.Thread(target=write)
    writer.start()
    inside.wait(10)
    closed: list[bool] = []
    closing = threading.Thread(target=lambda: closed.append(database.close()))
    closing.start()
    closing.join(0.3)
    assert closed == [], "the lock may not be dropped yet"
    go_on.set()
    closing.join(10)
    writer.join(10)
    assert closed == [True]


def test_after_the_close_the_file_alone_holds_everything(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    add(database, task_id="kept")
    assert row(database, "kept").status == "pending"
    database.close()
    copy = shutil.copy(sqlite_url.removeprefix("sqlite:///"), tmp_path / "copy.db")
    with sqlite3.connect(copy) as conn:
        assert conn.execute("SELECT task_id FROM tasks").fetchall() == [("kept",)]
    conn.close()


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a#b' / 'c%20d.db'}"
    migrate.upgrade(url)
    database = open_database(url)
    add(database, task_id="t")
    assert row(database, "t").status == "pending"
    database.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a#b"]


def test_a_folder_that_cannot_be_made_is_told_as_a_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"data_dir.*JOBRUNNER_DATA_DIR"):
        open_database(f"sqlite:///{tmp_path / 'file' / 'jobrunner.db'}")


def test_a_lock_that_cannot_be_written_is_told_as_a_setting(tmp_path: Path) -> None:
    (tmp_path / "jobrunner.db.lock").mkdir()
    with pytest.raises(SettingsError, match=r"jobrunner\.db\.lock cannot be written.*JOBRUNNER_DATABASE_URL"):
        FileLock(tmp_path / "jobrunner.db").take()


def test_a_statement_that_does_not_end_is_ended_at_the_deadline(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(DatabaseUnavailable, match="interrupted"), database.begin(deadline=0.3) as conn:
        conn.exec_driver_sql(endless)
    add(database, task_id="t")
    database.close()
