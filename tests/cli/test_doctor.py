"""The doctor names what is wrong and what mends it; probes end as supervisors expect."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from jobrunner.cli.exits import Exit
from jobrunner.client.checkup_files import unwritable
from tests.cli.conftest import Jr, Said
from tests.processes import Processes, free_port


def _levels(told: Said) -> dict[str, str]:
    return {one["check"]: one["level"] for one in told.json["findings"]}


def _fixes(told: Said) -> str:
    return " ".join(one["fix"] for one in told.json["findings"])


def test_nothing_there_yet(jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_PORT", str(free_port()))
    told = jr("doctor", "--json")
    assert told.code == Exit.TASK_FAILED
    assert told.json["ok"] is False
    found = _levels(told)
    assert found.pop("database") == "fail"
    assert found == dict.fromkeys(("data folder", "handlers", "secrets", "port", "door"), "ok")
    assert "jobrunner up" in _fixes(told)
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


def test_what_would_stop_a_worker_is_told_before_there_is_a_database(
    jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy.py").write_text("print('what a module prints')\nimport not_there\n")
    for name, value in {
        "HOST": "0.0.0.0",
        "HANDLERS": "noisy",
        "DATA_DIR": "/proc/nope",
        "TDX_ROOT": "/nosuch",
        "CSV_ROOT": str(tmp_path / "noisy.py"),
        "PORT": str(free_port()),
    }.items():
        monkeypatch.setenv(f"JOBRUNNER_{name}", value)
    told = jr("doctor", "--json")
    found = _levels(told)
    failed = {"data folder", "tdx_root", "csv_root", "handlers", "database", "door"}
    assert {name for name, level in found.items() if level == "fail"} == failed
    assert "not_there" in told.out
    assert "what a module prints" in told.err
    monkeypatch.setenv("JOBRUNNER_HANDLERS", "")
    monkeypatch.setenv("JOBRUNNER_TDX_ROOT", str(tmp_path))
    found = _levels(jr("doctor", "--json"))
    assert (found["handlers"], found["tdx_root"]) == ("ok", "ok")


def test_who_may_not_write_is_told_apart_from_what_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path("/data")
    read_only = unwritable(place / "new", place, OSError(errno.EROFS, "Read-only file system"))
    assert "Read-only file system" in read_only.detail
    assert "that user" not in read_only.fix
    monkeypatch.setattr("os.getuid", lambda: 1_000)
    assert "give it to that user" in unwritable(place, place, OSError(errno.EACCES, "Permission denied")).fix
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert "that user" not in unwritable(place, place, OSError(errno.EACCES, "Permission denied")).fix


def test_a_database_that_nobody_works_on(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    monkeypatch.setenv("JOBRUNNER_PORT", str(free_port()))
    assert at("submit", "add", "--queue", "held").code == 0
    assert at("queues", "pause", "held", "--reason", "why").code == 0
    told = at("doctor", "--json")
    assert told.code == Exit.TASK_FAILED
    found = _levels(told)
    assert (found["database"], found["schema"], found["clock"]) == ("ok", "ok", "ok")
    assert (found["nodes"], found["task types"], found["queues"]) == ("fail", "fail", "warn")
    assert found.get("hints", "ok") == "ok"
    assert "jobrunner queues resume held" in _fixes(told)
    assert all(one["fix"] for one in told.json["findings"] if one["level"] != "ok")
    assert found["door"] == "ok"
    rows = at("doctor").rows
    assert [row["level"] for row in rows] == [one["level"] for one in told.json["findings"]]


def test_a_door_that_nothing_closes(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_PORT", str(free_port()))
    monkeypatch.setenv("JOBRUNNER_HOST", "0.0.0.0")
    told = at("doctor", "--json")
    assert _levels(told)["door"] == "fail"
    assert "keys create" in _fixes(told)
    root = at("keys", "create", "root", "--scope", "admin", "--json").json
    assert _levels(at("doctor", "--json"))["door"] == "ok"
    assert at("keys", "revoke", root["id"]).code == 0
    told = at("doctor", "--json")
    assert (_levels(told)["door"], "keys create" in _fixes(told)) == ("warn", True), "it stays closed"


def test_what_is_wrong_on_this_machine(jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "node_config.json"
    config.write_text('{"api_key": "a-long-secret", "host": "127.0.0.1"}')
    config.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("JOBRUNNER_PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("JOBRUNNER_DATABASE_URL", f"postgresql://me:hidden@127.0.0.1:{free_port()}/x")
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("JOBRUNNER_DATA_DIR", str(tmp_path / "file" / "below"))
        told = jr("doctor", "--json")
    assert told.code == Exit.TASK_FAILED
    found = _levels(told)
    assert (found["secrets"], found["port"], found["database"], found["data folder"]) == (
        "warn",
        "fail",
        "fail",
        "fail",
    )
    assert "chmod 600" in _fixes(told)
    assert "hidden" not in told.out + told.err
    assert "a-long-secret" not in told.out
    config.chmod(0o600)
    assert _levels(jr("doctor", "--json"))["secrets"] == "ok"


def test_a_running_one_is_well_and_its_probes_say_so(
    jr: Jr, sqlite_url: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("JOBRUNNER_PORT", str(port))
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    told = jr("health", "live")
    assert (told.code, told.out) == (Exit.UNREACHABLE, "")
    running = processes.start("up", "--port", str(port), env={"JOBRUNNER_DATABASE_URL": sqlite_url}, port=port)
    running.wait_healthy()
    assert jr("health", "live").out == "ok\n"
    assert jr("health", "ready", "--json").json == {"status": "ready", "reasons": []}
    assert jr("health", "live", "--url", running.url).code == 0
    monkeypatch.setenv("JOBRUNNER_PORT", str(free_port()))
    assert jr("health", "live").out == "ok\n", "it is found by its file, whatever port it was given"
    assert jr("health", "ready").code == 0
    monkeypatch.setenv("JOBRUNNER_PORT", str(port))
    told = jr("doctor", "--json")
    assert told.code == 0, told.out
    assert set(_levels(told).values()) == {"ok"}, told.out
    assert "a jobrunner answers" in told.out
