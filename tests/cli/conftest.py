"""Running commands: in this process for what they say, as processes where it matters how they end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobrunner.cli import options
from jobrunner.cli.main import main
from jobrunner.handlers import registry
from tests.processes import INHERITED

HANDLERS = """
from jobrunner.errors import Cancel
from jobrunner.handlers import Context, task


@task("add")
def add(x: int, y: int = 1) -> int:
    return x + y


@task("talk")
def talk(ctx: Context) -> dict:
    ctx.log("first line", step=1)
    ctx.log("second \\x1b[31mline")
    ctx.progress(0.5, "half way")
    return {"said": 2}


@task("broken", max_attempts=1)
def broken() -> None:
    raise ValueError("no such luck")


@task("declined")
def declined() -> None:
    raise Cancel("not today")
"""


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[dict[str, str]]:
        """Tab-separated lines under their headers."""
        headers, *lines = [line.split("\t") for line in self.out.splitlines()]
        return [dict(zip(headers, line, strict=True)) for line in lines]


Jr = Callable[..., Said]


@pytest.fixture
def jr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Jr:
    """Run a command line in this process, in an empty folder and a clean environment."""
    for name in set(os.environ) - set(INHERITED):
        if not name.startswith(("PYTEST", "PYTHON")):  # which may say where this checkout's code is
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def call(*args: str, stdin: str = "") -> Said:
        monkeypatch.setattr(options, "_traceback_wanted", False)
        monkeypatch.setattr("sys.stdin", _Text(stdin))
        capsys.readouterr()
        with registry.isolated():  # other tests of this process registered types of their own
            code = main(args)
        return Said(code, *capsys.readouterr())

    return call


class _Text:
    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> str:
        return self._text

    def isatty(self) -> bool:
        return False


@pytest.fixture
def at(jr: Jr, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Jr:
    """The same, with a new migrated database, once on each kind."""
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", database_url)
    return jr


@pytest.fixture
def chores(tmp_path: Path) -> str:
    """The name of a module of handlers in the folder where processes start."""
    (tmp_path / "chores.py").write_text(HANDLERS)
    return "chores"
