"""The console script, as a process: what holds before the first command is known."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobrunner.cli.exits import Exit

ROOT = Path(__file__).parents[2]
SCRIPT = "import sys; from jobrunner.__main__ import run; sys.argv[0] = 'jobrunner'; run()"  # as pip writes it
INTERRUPTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


def _run(folder: Path, *words: str, closed: bool = False) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}:{ROOT}"}
    command = [sys.executable, "-c", SCRIPT, *words]
    if closed:
        command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.skipif(sys.platform == "win32", reason="there no process interrupts itself so")
def test_an_interruption_of_the_imports_tells_no_traceback(tmp_path: Path) -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert told["project"]["scripts"] == {"jobrunner": "jobrunner.__main__:run"}
    (tmp_path / "typer.py").write_text(INTERRUPTED)  # imported long before the command line is read
    ended = _run(tmp_path, "list")
    assert (ended.returncode, ended.stdout, ended.stderr) == (Exit.INTERRUPTED, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there no shell closes streams")
def test_closed_streams_lead_to_nowhere(tmp_path: Path) -> None:
    told = _run(tmp_path, "config", "show", closed=True)
    assert (told.returncode, told.stderr) == (0, "")
