"""``submit --follow``: the lines of a task as they come, then its end as ``--wait`` tells it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobrunner.cli import follow, patience
from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.cli.scripted import Told, scripted
from tests.cli.test_patience import AWAY, LOST, OVERVIEW, _lines, _task
from tests.processes import Processes, free_port

ACCEPTED: Told = (202, {"task_id": "one", "status": "pending"})
SLOW = """
import pathlib
import time
from jobrunner.handlers import Context, task


@task("slow")
def slow(ctx: Context) -> dict:
    ctx.log("begun", step=1)
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
    ctx.log("gone on")
    return {"steps": 2}
"""


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "REST", 0.02)
    monkeypatch.setattr(follow, "PAUSE", 0.02)


def _said(out: str) -> list[str]:
    return [line.partition("info")[2].strip() for line in out.splitlines()]


def test_lines_come_while_the_task_runs(
    jr: Jr, chores: str, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    port = free_port()
    served = processes.start("up", "--port", str(port), "--handlers", f"{chores},slow", "--grace", "1", port=port)
    served.wait_healthy()
    monkeypatch.setenv("JOBRUNNER_URL", served.url)
    env = {"JOBRUNNER_URL": served.url}
    told = jr("submit", "slow", "--follow", "--wait-timeout", "0.5s", "--task-id", "late")
    assert told.code == Exit.TIMED_OUT
    assert "late did not end in 0.5 s and goes on" in told.err

    following = processes.start("submit", "slow", "--follow", env=env)
    following.wait_for_line("begun step=1")
    assert following.exit_code is None
    (tmp_path / "go").write_text("")
    assert following.wait() == 0
    *lines, result = following.output.splitlines()
    assert _said("\n".join(lines)) == ["begun step=1", "gone on"]
    assert json.loads(result) == {"steps": 2}
    assert following.errors.startswith("task ")

    told = jr("submit", "broken", "-f", "--task-id", "bad")
    assert (told.code, "task bad failed: " in told.err) == (Exit.TASK_FAILED, True)
    assert jr("submit", "declined", "--follow").code == Exit.TASK_CANCELLED
    *documents, task = map(json.loads, jr("submit", "talk", "--follow", "--json").out.splitlines())
    assert documents[0]["message"] == "first line"
    assert (task["status"], task["result"]) == ("completed", {"said": 2})


def test_a_restart_is_waited_out(jr: Jr) -> None:
    running, done = _task("running"), _task("completed")
    script: list[Any] = [ACCEPTED, OVERVIEW, AWAY, running, _lines("first", after=1), LOST, running, _lines(after=1)]
    with scripted(*script, done, _lines("last", after=2), done, _lines(after=2), done) as server:
        told = jr("submit", "add", "--follow", "--url", server.url)
    assert told.code == 0, told.err
    *lines, result = told.out.splitlines()
    assert (_said("\n".join(lines)), json.loads(result)) == (["first", "last"], {"value": 3})
    assert told.err.startswith("task one\n")
    assert told.err.count("There is an answer again.") == 2


def test_nobody_to_run_it_is_said_before_it_is_followed(jr: Jr) -> None:
    nobody: Told = (200, {"verdict": "no_node", "nodes_alive": 0, "waiting_seconds": 0.0, "counts": {}})
    pending = _task("pending")
    with scripted(ACCEPTED, nobody, pending, _lines(after=0), pending, _lines(after=0)) as server:
        server.answers += [pending, _lines(after=0)] * 200
        told = jr("submit", "add", "--follow", "--wait-timeout", "0.2s", "--url", server.url)
    assert (told.code, told.out) == (Exit.TIMED_OUT, "")
    assert "No worker is alive" in told.err


def test_of_one_that_has_ended_nobody_has_to_run_anything(jr: Jr) -> None:
    done = _task("completed")
    with scripted((200, {"task_id": "one", "status": "completed"}), done, _lines(after=0), done) as server:
        told = jr("submit", "add", "--task-id", "one", "--follow", "--url", server.url)
    assert told.code == 0, told.err
    assert [call for call, _ in server.asked if "overview" in call] == []


def test_an_outage_at_the_end_of_its_time_is_a_time_out(jr: Jr) -> None:
    with scripted(ACCEPTED, OVERVIEW, _task("running"), _lines("first", after=1), AWAY) as server:
        told = jr("submit", "add", "--follow", "--wait-timeout", "0.3s", "--url", server.url)
    assert (told.code, _said(told.out)) == (Exit.TIMED_OUT, ["first"])
