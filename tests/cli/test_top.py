"""The terminal's view: one frame for programs, a live one on a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Jr
from tests.processes import INHERITED, Processes, free_port

ROOT = Path(__file__).parents[2]


def test_one_frame_where_no_terminal_is(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    assert at("submit", "add", "--task-id", "a", "--queue", "q").code == 0
    told = at("top")
    assert told.code == 0
    assert told.out.startswith("No worker is alive")
    assert re.search(r"^q\tno\t1\t0\t", told.out, re.MULTILINE)
    assert "slots 0/0" in told.out
    found = at("top", "--json").json
    assert (found["verdict"], found["nodes"], found["running"], found["failed"]) == ("no_node", [], [], [])
    assert {one["name"]: one["pending"] for one in found["queues"]} == {"default": 0, "q": 1}


def test_the_same_over_rest_with_the_last_failures(
    jr: Jr, sqlite_url: str, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    env = {"JOBRUNNER_DATABASE_URL": sqlite_url}
    running = processes.start("up", "--port", str(port), "--handlers", chores, env=env, port=port)
    running.wait_healthy()
    there = ("--url", running.url)
    for task_id in ("one", "two"):
        jr("submit", "broken", "--task-id", task_id, "--wait", *there)
    found = jr("top", "--json", *there).json
    assert [task["task_id"] for task in found["failed"]] == ["two", "one"]
    assert found["nodes"][0]["failed"] + found["nodes"][0]["completed"] >= 0
    told = jr("top", "--once", *there)
    assert "no such luck" in told.out


def test_a_terminal_shows_it_live_until_ctrl_c(sqlite_url: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    env |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", "PYTHONPATH": str(ROOT)}
    env |= {"JOBRUNNER_DATABASE_URL": sqlite_url}
    shown = subprocess.Popen(
        [sys.executable, "-m", "jobrunner", "top", "--interval", "0.2"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        text, until = "", time.monotonic() + 40
        os.set_blocking(ours, False)
        while text.count("Ctrl-C ends it") < 2:
            assert time.monotonic() < until, text
            try:
                text += os.read(ours, 65_536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.05)
        assert "No worker is alive" in text
        assert "queues" in text
        shown.send_signal(signal.SIGINT)
        assert shown.wait(20) == 130
    finally:
        shown.kill()
        shown.wait()
        os.close(ours)
