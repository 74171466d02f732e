"""Colours on a terminal, and none where nobody wants them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import INHERITED

ROOT = Path(__file__).parents[2]
COLOR = re.compile(r"\x1b\[[\d;]*3\d[;m]")
OPTION, VARIABLE = ("--no-color",), {"NO_COLOR": "1"}


def _shown(home: Path, *words: str, env: dict[str, str] | None = None) -> str:
    """What a terminal shows of a command that ends by itself."""
    ours, theirs = pty.openpty()
    told = {name: os.environ[name] for name in INHERITED if name in os.environ} | {"TERM": "xterm-256color"}
    told["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "jobrunner", *words]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**told, **(env or {})}, cwd=home
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            seen += piece
    os.close(ours)
    assert process.returncode == 0, seen.decode()
    return seen.decode()


@pytest.mark.parametrize("words", [("worker", "--until-empty", "--port", "0"), ("--help",)])
def test_colors_are_shown_and_left_out(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert COLOR.search(_shown(tmp_path, *words))
    assert not COLOR.search(_shown(tmp_path, *OPTION, *words))
    assert not COLOR.search(_shown(tmp_path, *words, env=VARIABLE))
