"""A file of settings is begun and checked before anything is started."""

from __future__ import annotations

import json
import shlex
import stat
import sys
from pathlib import Path

import pytest

from jobrunner.cli.exits import Exit
from jobrunner.settings import load
from tests.cli.conftest import Jr, Said
from tests.processes import Processes

ROOT = Path(__file__).parents[2]

DEAF = {"name": "deaf", "cron": "0 3 * * 9", "task_type": "data_import"}
MINE = """
from jobrunner import task

@task("mine")
def mine(x: int = 0) -> None: ...
"""
AWAY = {"name": "away", "every": 60, "task_type": "elsewhere"}
BEAT = {"name": "beat", "every": 60, "task_type": "mine"}


def _levels(told: Said) -> dict[str, str]:
    return {one["check"]: one["level"] for one in told.json["findings"]}


def test_a_file_to_begin_with(jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unset = load(environ={})
    told = jr("config", "init")
    assert (told.code, told.out) == (0, "node_config.json\n")
    written = tmp_path / "node_config.json"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert set(json.loads(written.read_text()).values()) == {None}
    assert load(environ={}) == unset, "null pins nothing"
    assert jr("config", "check").code == 0

    before = written.read_bytes()
    told = jr("config", "init", "max_workers:=9")
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert "is there already" in told.err
    assert written.read_bytes() == before

    monkeypatch.setenv("JOBRUNNER_CONFIG", "mine.json")
    words = ("config", "init", "max_workers:=9", "queues=a,b", "port:=null", "api_key:=null", "-", "--json")
    told = jr(*words, stdin='{"api_key": "a-long-secret"}')
    assert told.json == {"path": "mine.json", "set": ["api_key", "max_workers", "queues"]}
    assert "a-long-secret" not in told.out + told.err
    settings = load(environ={"JOBRUNNER_CONFIG": "mine.json"}).settings
    assert (settings.max_workers, settings.queues) == (9, ("a", "b"))


def test_no_file_is_begun_with_what_would_be_refused(jr: Jr, tmp_path: Path) -> None:
    for words, named in (
        (["max_wrkers:=3"], "max_workers"),
        (["max_workers=many"], "max_workers"),
        (["api_key=a-long-secret"], "api_key holds a secret, and everybody on the machine"),
        (["database_url=postgresql://me:a-long-secret@db/x"], "database_url holds a secret"),
        (["master_port:=5"], "master_port (argument)"),
        (["queues="], "queues is empty; leave it out"),
        (['schedules:=[{"name": "x"}]'], "schedules[0]: schedule 'x' is refused"),
        (["handlers=\udcff"], "not UTF-8"),
        (["--config", "no/such/folder.json"], "cannot be written"),
    ):
        told = jr("config", "init", *words)
        assert (told.code, told.out) == (Exit.USAGE, ""), words
        assert named in told.err
        assert "secret@" not in told.err
        assert "a-long" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_to_its_end_is_not_there(processes: Processes, tmp_path: Path) -> None:
    words = f"(ulimit -f 0; {shlex.quote(sys.executable)} -m jobrunner config init 2>&1; echo ended with $?) | cat"
    told = processes.start_command(["sh", "-c", words], env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)})
    assert told.wait(30) == 0
    assert "node_config.json cannot be written" in told.output
    assert told.output.endswith("ended with 2\n")
    assert list(tmp_path.glob("*.json")) == []


def test_what_would_stop_a_worker_is_found_without_a_database(
    jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "again"):  # a module is loaded once, and each command begins without types
        (tmp_path / f"{name}.py").write_text(MINE)
    config = tmp_path / "node_config.json"
    right = {"handlers": "mine", "csv_root": str(tmp_path), "schedules": [AWAY, BEAT], "master_port": 1}
    config.write_text(json.dumps(right))
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/nobody")
    told = jr("config", "check", "--json")
    assert (told.code, told.json["ok"]) == (0, True), told.out
    sound = ("data folder", "csv_root", "handlers", "schedules", "secrets", "door")
    assert _levels(told) == {"settings": "warn", **dict.fromkeys(sound, "ok")}
    assert "master_port" in told.out
    assert "no handler here runs elsewhere" in told.out

    wrong = {
        **right,
        "handlers": "again,not_there",
        "csv_root": "/nosuch",
        "ssl_keyfile": "key.pem",
        "log_file": "/proc/log",
        "data_dir": "/proc/data",
        "host": "0.0.0.0",
        "schedules": [
            AWAY,
            DEAF,
            {**BEAT, "task_data": {"x": "many"}},
            {"name": "x"},
            {**BEAT, "timezone": None},
            BEAT,
        ],
    }
    config.write_text(json.dumps(wrong))
    told = jr("config", "check", "--json")
    assert (told.code, told.json["ok"]) == (Exit.USAGE, False)
    failed = [one for one in told.json["findings"] if one["level"] == "fail"]
    assert {one["check"] for one in failed} == {"data folder", "csv_root", "log_file", "handlers", "schedules", "TLS"}
    entries = [one["detail"][:12] for one in failed if one["check"] == "schedules"]
    assert entries == [f"schedules[{n}]" for n in (1, 2, 3, 4)]
    assert _levels(told)["door"] == "warn", "a key in the database would close it"
    seen = " ".join(one["detail"] for one in told.json["findings"] if one["level"] == "warn")
    assert "no handler here runs" not in seen, "they could not be loaded, which is told"
    assert "3 entries are called beat" in seen
    assert f"csv_root (file {config.name})" in told.out, "the place that set it is named"
    assert all(one["fix"] for one in told.json["findings"] if one["level"] != "ok")
    assert "hidden" not in told.out + told.err


def test_each_setting_that_cannot_be_read_is_told_with_its_place(jr: Jr, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"max_wrkers": 7, "port": "x", "api_key": "short"}')
    told = jr("config", "check", "--config", "mine.json", "--json")
    assert told.code == Exit.USAGE
    details = {one["detail"].partition(" ")[0]: one for one in told.json["findings"]}
    assert set(details) == {"max_wrkers", "port", "api_key"}
    assert details["max_wrkers"]["fix"] == "write max_workers"
    assert all("file mine.json" in one["detail"] for one in details.values())
    assert "short" not in told.out
    (tmp_path / "mine.json").write_text('{"port": }')
    assert "line 1, column 10" in jr("config", "check", "--config", "mine.json").out


def test_a_host_that_is_not_this_machines(jr: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    for host, level in (("203.0.113.9", "fail"), ("localhost", None), ("127.0.0.1", None)):
        monkeypatch.setenv("JOBRUNNER_HOST", host)
        told = jr("config", "check", "--json")
        assert (_levels(told).get("host"), told.code) == (level, Exit.USAGE if level else 0)
