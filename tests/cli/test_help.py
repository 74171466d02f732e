"""Help is quick because of what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import typer

from jobrunner.cli.main import app
from tests.cli.conftest import Jr

HEAVY = ("sqlalchemy", "alembic", "pandas", "starlette")

LOOK = """
import contextlib, io, json, sys
from jobrunner.cli.main import main
told = {}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*words, "--help"])
    heavy = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    told[" ".join(words)] = [code, "Usage" in out.getvalue(), heavy]
print(json.dumps(told))
"""


def _commands(command: Any, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = getattr(command, "commands", {})
    return [words, *(one for name, child in below.items() for one in _commands(child, (*words, name)))]


COMMANDS = _commands(typer.main.get_command(app))


@pytest.mark.ci
def test_no_help_imports_anything_heavy() -> None:
    given = [sys.executable, "-c", LOOK, json.dumps(COMMANDS), json.dumps(HEAVY)]
    told = json.loads(subprocess.run(given, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert len(told) == len(COMMANDS) > 20
    assert {name: found for name, found in told.items() if found != [0, True, []]} == {}


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[-1:] not in ((), ("schedules",), ("db",))])
def test_every_command_has_json_and_no_key_in_its_arguments(words: tuple[str, ...], jr: Jr) -> None:
    told = jr(*words, "--help").out
    assert "--api-key" not in told
    if words != ("config",):
        assert "--json" in told


def test_version(jr: Jr) -> None:
    from importlib.metadata import version

    assert jr("--version").out.strip() == version("jobrunner")
