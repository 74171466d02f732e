"""``db``, ``config``, ``status`` without an id, ``nodes``; and what ends how before anything runs."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from jobrunner.cli.exits import Exit
from jobrunner.client.checkup_here import here
from jobrunner.db.market import METADATA
from jobrunner.db.schema import SCHEMA
from jobrunner.settings import load
from jobrunner.settings.log_file import check_log_file
from tests.cli.conftest import Jr
from tests.processes import Processes

NEWEST = f"{SCHEMA:04d}"


def test_the_schema_by_command(jr: Jr, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", empty_database_url)
    for words in (["db", "check"], ["status"], ["submit", "add"]):
        told = jr(*words)
        assert told.code == Exit.USAGE
        assert "jobrunner db upgrade" in told.err
    assert jr("db", "upgrade", "--json").json == {"revision": NEWEST, "head": NEWEST}
    assert jr("db", "upgrade").out == f"{NEWEST}\n"
    assert jr("db", "current", "--json").json == {"revision": NEWEST, "head": NEWEST}
    assert jr("db", "check").code == 0
    told = jr("db", "downgrade", "base")
    assert told.code == Exit.USAGE
    assert "--yes" in told.err
    assert jr("db", "check").code == 0
    assert jr("db", "downgrade", "base", "--yes", "--json").json == {"revision": None, "head": NEWEST}
    assert jr("db", "check").code == Exit.USAGE


def test_what_the_database_takes(at: Jr, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    assert at("submit", "add").code == 0
    if database_url.startswith("postgresql"):
        engine = create_engine(database_url)
        with engine.begin() as conn:
            conn.execute(text("ANALYZE tasks"))
        engine.dispose()
    told = at("db", "stats", "--json")
    found = {one["name"]: one for one in told.json["sizes"]}
    assert (found["tasks"]["kind"], found["tasks"]["rows"]) == ("table", 1)
    indexes = [one for one in found.values() if one["kind"] == "index" and one["belongs_to"] == "tasks"]
    assert indexes
    assert all(one["rows"] is None for one in indexes)
    assert set(METADATA.tables) <= set(found)
    assert told.json["bytes"] > 8_192
    assert (found["tasks"]["dead_rows"] is None) == database_url.startswith("sqlite")
    assert {row["name"] for row in at("db", "stats").rows} == set(found)


def test_an_empty_queue_in_figures(at: Jr) -> None:
    told = at("status", "--check", "--json")
    assert told.code == Exit.TASK_FAILED
    assert (told.json["verdict"], told.json["nodes_alive"], told.json["counts"]["pending"]) == ("no_node", 0, 0)
    told = at("status")
    assert told.code == 0
    assert "No worker is alive" in told.out
    assert at("nodes", "--json").json == {"nodes": []}
    assert at("nodes", "--all").rows == []


def test_settings_with_their_sources(jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.json").write_text('{"max_workers": 7, "api_key": "a-long-secret", "master_host": "x"}')
    monkeypatch.setenv("MAX_WORKERS", "9")
    told = jr("config", "show", "--config", "mine.json", "--json")
    shown = {one["key"]: (one["value"], one["source"]) for one in told.json["settings"]}
    assert shown["max_workers"] == ("9", "env MAX_WORKERS")
    assert "a-long-secret" not in told.out
    assert shown["api_key"][1].startswith("file ")
    assert "master_host" in told.err
    assert {row["key"] for row in jr("config", "show").rows} == set(shown)
    (tmp_path / "mine.json").write_text('{"max_wrkers": 7}')
    told = jr("status", "--config", "mine.json")
    assert told.code == Exit.USAGE
    assert "max_workers" in told.err


def test_an_internal_error_is_a_sentence_and_a_traceback_on_request(
    jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", f"sqlite:///{tmp_path / 'odd.db'}")
    jr("db", "upgrade")
    with closing(sqlite3.connect(tmp_path / "odd.db")) as conn:
        conn.execute("DROP TABLE nodes")
    told = jr("status")
    assert (told.code, told.out) == (Exit.INTERNAL, "")
    assert told.err.startswith("jobrunner: internal error, OperationalError: ")
    assert "Traceback" not in told.err
    assert "Traceback" in jr("--debug", "status").err
    monkeypatch.setenv("JOBRUNNER_LOG_LEVEL", "debug")
    assert "Traceback" in jr("status").err


def test_nobody_there(jr: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = jr("status", "--url", f"http://127.0.0.1:{port}")
    assert (told.code, told.out) == (Exit.UNREACHABLE, "")
    assert "jobrunner up" in told.err
    monkeypatch.setenv("JOBRUNNER_URL", f"127.0.0.1:{port}")
    assert jr("nodes").code == Exit.UNREACHABLE
    monkeypatch.delenv("JOBRUNNER_URL")
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", f"postgresql://me:hidden@127.0.0.1:{port}/x")
    told = jr("status")
    assert told.code == Exit.UNREACHABLE
    assert "the database cannot be reached" in told.err
    assert "hidden" not in told.err


@pytest.mark.parametrize("words", [["sttus"], ["submit"], ["wait"], ["list", "--limit", "0"], ["submit", "a", "b"]])
def test_misuse(jr: Jr, words: list[str]) -> None:
    told = jr(*words)
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert told.err.startswith("jobrunner: ")
    assert "--help" in told.err


def test_a_group_alone_shows_its_help(jr: Jr) -> None:
    for words in ([], ["db"], ["schedules"]):
        told = jr(*words)
        assert told.code == Exit.USAGE
        assert "Usage" in told.out


def test_ctrl_c_while_waiting(processes: Processes, sqlite_url: str) -> None:
    env = {"JOBRUNNER_DATABASE_URL": sqlite_url, "JOBRUNNER_ALLOW_UNKNOWN_TYPES": "1"}
    waiting = processes.start("submit", "add", "--task-id", "a", "--wait", env=env)
    waiting.wait_for_line("task a")
    time.sleep(0.3)
    waiting.signal(signal.SIGINT)
    assert waiting.wait() == Exit.INTERRUPTED
    assert "Traceback" not in waiting.errors


def test_the_codes_are_those_of_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "web" / "docs" / "cli.md").read_text("utf-8")
    told = {int(line.split("|")[1]) for line in docs.splitlines() if line.startswith("| ") and line[2].isdigit()}
    assert told == set(Exit)
    assert json.dumps([int(code) for code in Exit]) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]"


def test_looking_where_nothing_is_makes_nothing(jr: Jr, tmp_path: Path) -> None:
    for words in (["status"], ["db", "check"], ["db", "current"]):
        assert jr(*words).code == Exit.USAGE
    assert list(tmp_path.iterdir()) == []


def test_a_log_file_where_none_can_be(jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, said in ((tmp_path / "lgos" / "node.log", "make it: mkdir -p"), (tmp_path, "cannot be written")):
        monkeypatch.setenv("JOBRUNNER_LOG_FILE", str(path))
        told = jr("worker", "--once")
        assert (told.code, told.out) == (Exit.USAGE, "")
        assert said in told.err
        assert list(tmp_path.iterdir()) == [], "no folder is made of a slip"


def test_the_data_directory_is_made_for_its_log_file(tmp_path: Path) -> None:
    loaded = load({"data_dir": tmp_path / "data", "log_file": tmp_path / "data" / "logs" / "node.log"}, environ={})
    check_log_file(loaded.settings)
    missing = load({"data_dir": tmp_path / "data", "log_file": tmp_path / "logs" / "node.log"}, environ={})
    assert [one.fix for one in here(missing) if one.check == "log_file"] == [f"make it: mkdir -p {tmp_path / 'logs'}"]
