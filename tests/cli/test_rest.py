"""The same commands through a running jobrunner: where they look, and that the answers are equal."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.processes import Processes, free_port

KEY = "a-key-of-this-test"
LOOKS = (
    *("status", "list", "nodes --all", "schedules list", "schedules next nightly"),
    *("status one", "logs one", "wait done", "list --status pending --status cancelled --limit 1 --type add"),
)
REFUSALS = (
    *("status nobody", "cancel nobody", "retry one", "submit add --task-id one", "schedules pause nobody"),
    *("submit add --priority 0", "list --cursor x", "schedules add x add --cron 61", "logs nobody", "cancel done"),
)


@pytest.mark.ci
def test_equal_answers_at_the_database_and_over_rest(
    jr: Jr, postgres_url: str, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    env = {"JOBRUNNER_DATABASE_URL": postgres_url}
    words = ("worker", "--port", str(port), "--handlers", chores, "--node-name", "Worker-1", "--max-workers", "3")
    worker = processes.start(
        *words, env={**env, "JOBRUNNER_API_KEY": KEY, "JOBRUNNER_HEARTBEAT_INTERVAL": "3"}, port=port
    )
    worker.wait_healthy()
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", postgres_url)
    there = ("--url", worker.url)
    for key in ("", "wrong-key"):
        monkeypatch.setenv("JOBRUNNER_API_KEY", key)
        told = jr("status", *there)
        assert (told.code, told.out) == (Exit.NOT_PERMITTED, "")
        assert "JOBRUNNER_API_KEY" in told.err
    monkeypatch.setenv("JOBRUNNER_API_KEY", KEY)

    told = jr("submit", "add", "x:=2", "--task-id", "done", "--wait", "--json", *there)
    assert (told.code, told.json["result"]) == (0, {"value": 3})
    later = ["submit", "add", "x:=1", "--task-id", "one", "--at", "2040-01-01T00:00:00+08:00", "--tag", "a", "--json"]
    assert jr(*later, *there).json == {"task_id": "one", "status": "pending", "created": True}
    assert jr(*later, *there).json == jr(*later).json == {"task_id": "one", "status": "pending", "created": False}
    added = ["schedules", "add", "nightly", "add", "x:=1", "--cron", "30 17 * * 7", "--timezone", "Asia/Shanghai"]
    assert jr(*added, "--json", *there).json == jr(*added, "--json").json
    _wait_for_beat(jr, completed=1)
    worker.signal(signal.SIGSTOP)  # so that no heartbeat falls between the two looks
    directly = {look: jr(*look.split(), "--json") for look in LOOKS}
    refused = {wish: jr(*wish.split()) for wish in REFUSALS}
    worker.signal(signal.SIGCONT)
    (node,) = jr("nodes", "--json", *there).json["nodes"]
    assert (node["name"], node["slots"], node["address"]) == ("Worker-1", 3, worker.url)
    for look, told in directly.items():
        assert told.code == 0, look
        assert _steady(jr(*look.split(), "--json", *there).json) == _steady(told.json), look
    for wish, told in refused.items():
        assert told.code != 0, wish
        over_rest = jr(*wish.split(), *there)
        assert (over_rest.code, over_rest.out) == (told.code, told.out), wish
        assert over_rest.err, wish

    for verb in ("pause", "resume"):
        assert (
            jr("schedules", verb, "nightly", "--json", *there).json == jr("schedules", verb, "nightly", "--json").json
        )
    ran = jr("schedules", "run", "nightly", "--json", *there)
    assert ran.json["status"] == "pending"
    assert jr("wait", ran.json["task_id"], *there).code == 0
    assert jr("schedules", "remove", "nightly", *there).code == 0
    assert jr("cancel", "one", "--reason", "why not", "--json", *there).json["error"] == "why not"
    assert jr("retry", "one", "--json", *there).json["generation"] == 1
    assert jr("submit", "broken", "--wait", *there).code == Exit.TASK_FAILED
    assert worker.stop() == 0
    assert jr("status", *there).code == Exit.UNREACHABLE


def _wait_for_beat(jr: Jr, completed: int) -> None:
    deadline = time.monotonic() + 30
    while jr("nodes", "--json").json["nodes"][0]["completed"] != completed:
        assert time.monotonic() < deadline, "its row does not tell what the node has done"
        time.sleep(0.1)


_CHANGING = frozenset(
    {"heartbeat_at", "alive", "cpu_percent", "memory_percent", "disk_percent", "load", "rss", "nodes_alive", "verdict"}
)


def _steady(told: object) -> object:
    """An answer without what changes by itself between two looks."""
    if isinstance(told, dict):
        return {name: _steady(value) for name, value in told.items() if name not in _CHANGING}
    return [_steady(value) for value in told] if isinstance(told, list) else told


def test_a_sqlite_file_in_use_is_asked_for_by_rest(
    jr: Jr, empty_sqlite_url: str, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    env = {"JOBRUNNER_DATABASE_URL": empty_sqlite_url}
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", empty_sqlite_url)
    running = processes.start("up", "--port", str(port), "--handlers", chores, "--json", env=env)
    told = json.loads(running.wait_for_line(r"^\{.url.*$")[0])
    assert told == {"url": f"http://127.0.0.1:{port}", "pid": running.pid}
    said = jr("submit", "add", "x:=2", "--wait")
    assert (said.code, json.loads(said.out)) == (0, {"value": 3})
    said = jr("submit", "talk", "--task-id", "t", "--json")
    assert said.json["created"] is True
    said = jr("logs", "t", "--follow")
    assert said.code == 0
    assert "first line step=1" in said.out
    assert jr("status", "--check").code == 0
    second = processes.run("worker", "--port", "0", env=env)
    assert second.exit_code == Exit.USAGE
    assert "JOBRUNNER_DATABASE_URL" in second.errors
    assert "Traceback" not in second.errors
    taken = processes.run("api", "--port", str(port), env={"JOBRUNNER_DATA_DIR": "elsewhere"})
    assert taken.exit_code == Exit.USAGE
    assert "--port" in taken.errors
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    assert jr("status", "t", "--json").json["status"] == "completed"
    assert jr("status", "--check").code == Exit.TASK_FAILED


def test_waiting_lets_a_worker_have_the_file(
    jr: Jr, sqlite_url: str, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"JOBRUNNER_DATABASE_URL": sqlite_url, "JOBRUNNER_ALLOW_UNKNOWN_TYPES": "1"}
    waiting = processes.start("submit", "add", "x:=4", "--task-id", "a", "--wait", "--json", env=env)
    waiting.wait_for_line("No worker is alive")
    port = str(free_port())
    processes.start("up", "--port", port, "--handlers", chores, env=env).wait_for_line('"event": "ready"')
    assert waiting.wait() == 0
    assert json.loads(waiting.output)["result"] == {"value": 5}


def test_two_commands_at_once_take_turns(sqlite_url: str, processes: Processes) -> None:
    env = {"JOBRUNNER_DATABASE_URL": sqlite_url, "JOBRUNNER_ALLOW_UNKNOWN_TYPES": "1"}
    both = [processes.start("submit", "add", "--task-id", f"t{n}", env=env) for n in range(3)]
    assert [one.wait() for one in both] == [0, 0, 0]
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as conn:
        assert conn.execute("SELECT count(*) FROM tasks").fetchone() == (3,)


def test_a_wrong_config_file_is_told(jr: Jr, tmp_path: Path) -> None:
    told = jr("status", "--config", "nowhere.json")
    assert told.code == Exit.USAGE
    assert "nowhere.json" in told.err
