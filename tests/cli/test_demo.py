"""``up --demo`` as a newcomer meets it: piped, on a terminal, with the usual port taken."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobrunner.cli.exits import Exit
from tests.processes import INHERITED, Processes, free_port

SYMBOLS = {"609999.SH", "009999.SZ", "839999.BJ"}


@pytest.fixture
def usual_port_taken() -> object:
    """Port 8900 is in use: by this test, or by whoever else has it."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(socket.create_server(("127.0.0.1", 8900)))
        yield


@pytest.mark.usefixtures("usual_port_taken")
def test_piped_it_ends_by_itself_and_finds_a_port(processes: Processes) -> None:
    demo = processes.run("up", "--demo")
    assert demo.exit_code == 0, demo.tail()
    headers, *lines = [line.split("\t") for line in demo.output.splitlines()]
    assert headers[:2] == ["symbol", "bars"]
    assert {(line[0], line[1], line[-1]) for line in lines[:3]} == {(one, "120", "generated sample") for one in SYMBOLS}
    told = dict(line for line in lines[3:])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", told["page"])
    assert not told["page"].endswith(":8900")
    assert told["status"].startswith(f"curl {told['page']}/api/v1/task/")
    assert "no such securities exist" in demo.errors
    assert "100%" in demo.errors
    assert "\x1b" not in demo.output + demo.errors
    again = processes.run("up", "--demo", "--json")
    assert again.exit_code == 0
    shown = json.loads(again.output)
    assert (shown["sample"], shown["task"]["result"]["unchanged"]) == (True, 360)
    assert {one["symbol"] for one in shown["bars"]} == SYMBOLS


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(processes: Processes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = processes.run("up", "--demo", "--port", str(port))
    assert told.exit_code == Exit.USAGE
    assert str(port) in told.errors
    assert "--port" in told.errors
    assert "Traceback" not in told.errors


def test_a_folder_with_other_files_is_left_alone(processes: Processes) -> None:
    folder = processes.home / ".jobrunner" / "sample-vipdoc"
    folder.mkdir(parents=True)
    (folder / "mine.day").write_bytes(b"mine")
    told = processes.run("up", "--demo")
    assert told.exit_code == Exit.USAGE
    assert "holds other files" in told.errors
    assert [one.name for one in folder.iterdir()] == ["mine.day"]


def test_on_postgresql_too(processes: Processes, empty_postgres_url: str) -> None:
    demo = processes.run("up", "--demo", "--json", env={"JOBRUNNER_DATABASE_URL": empty_postgres_url})
    assert demo.exit_code == 0, demo.tail()
    assert [one["bars"] for one in json.loads(demo.output)["bars"]] == [120, 120, 120]


@pytest.mark.ci
@pytest.mark.parametrize("no_color", ["", "1"])
def test_on_a_terminal_it_stays_until_ctrl_c(tmp_path: Path, no_color: str) -> None:
    ours, theirs = pty.openpty()
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    env |= {"TERM": "xterm-256color", "COLUMNS": "120"} | ({"NO_COLOR": no_color} if no_color else {})
    command = [sys.executable, "-m", "jobrunner", "up", "--demo", "--port", str(free_port())]
    demo = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=tmp_path, start_new_session=True
    )
    os.close(theirs)
    try:
        shown = _read_until(ours, "Ctrl-C ends it", within=30)
        assert re.search(r"609999\.SH +120 +2024-01-01 +2024-06-14", _bare(shown)), shown
        assert ("\x1b[32m" in shown or "\x1b[3" in shown) == (not no_color), shown
        time.sleep(0.5)
        assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
    finally:
        demo.kill()
        demo.wait()
        os.close(ours)


def _read_until(terminal: int, wanted: str, within: float) -> str:
    until, shown = time.monotonic() + within, ""
    os.set_blocking(terminal, False)
    while wanted not in shown:
        assert time.monotonic() < until, shown
        try:
            shown += os.read(terminal, 65536).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.05)
    return shown


def _bare(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
