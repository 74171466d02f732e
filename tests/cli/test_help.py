"""Help is quick because of what it does not import."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import typer

from jobrunner.cli.exits import Exit
from jobrunner.cli.main import app
from jobrunner.settings import DEFAULT_PORT, Settings, load, shown
from jobrunner.settings.names import DEFAULTS, DERIVED, variables
from tests.cli.conftest import Jr

HEAVY = ("sqlalchemy", "alembic", "pandas", "starlette", "pydantic_settings", "httpx2")  # pydantic is typer's own

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
GROUPS = {words[:length] for words in COMMANDS for length in range(len(words))}


@pytest.mark.ci
def test_no_help_imports_anything_heavy() -> None:
    given = [sys.executable, "-c", LOOK, json.dumps(COMMANDS), json.dumps(HEAVY)]
    told = json.loads(subprocess.run(given, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert len(told) == len(COMMANDS) > 20
    assert {name: found for name, found in told.items() if found != [0, True, []]} == {}


@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in GROUPS])
def test_every_command_has_json_and_no_key_in_its_arguments(words: tuple[str, ...], jr: Jr) -> None:
    told = jr(*words, "--help").out
    assert "--api-key" not in told
    assert "--json" in told


def _options(command: Any) -> list[Any]:
    below = [one for child in getattr(command, "commands", {}).values() for one in _options(child)]
    return [one for one in command.params if one.param_type_name == "option"] + below


def test_an_option_that_is_a_setting_tells_its_variables_and_its_default() -> None:
    options = [one for one in _options(typer.main.get_command(app)) if one.name in Settings.model_fields]
    assert {one.name for one in options} >= {"database_url", "host", "port", "lease_seconds", "grace", "allow_from"}
    for one in options:
        told = re.search(r"\(env (.*); default (.+)\)$", one.help)
        assert told, one.name
        assert told[1].split(", ") == list(variables(one.name))


def test_the_defaults_that_help_tells_are_those_of_the_settings(jr: Jr) -> None:
    real = {key: value for key, value, _ in shown(load(environ={}))}
    assert {key: real[key] for key in DEFAULTS} == DEFAULTS
    assert DERIVED["port"] == str(DEFAULT_PORT)
    assert {key: real[key] for key in DERIVED} == dict.fromkeys(DERIVED, "")


def test_a_server_and_a_database_are_not_mixed_up(jr: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("postgresql://me:hidden@db/x", "sqlite:///x.db", "postgres://db/x"):
        told = jr("status", "--url", url)
        assert (told.code, told.out) == (Exit.USAGE, "")
        assert "--database-url" in told.err
        assert "hidden" not in told.err
        monkeypatch.setenv("JOBRUNNER_URL", url)
        assert "JOBRUNNER_URL takes the address" in jr("list").err
        monkeypatch.delenv("JOBRUNNER_URL")
    told = jr("status", "--database-url", "http://127.0.0.1:8900")
    assert told.code == Exit.USAGE
    assert "is named by --url" in told.err
    told = jr("status", "--database-url", "sqlite:///x.db", "--url", "http://127.0.0.1:1")
    assert told.code == Exit.USAGE
    assert "--url or --database-url" in told.err


def test_a_database_by_option_goes_before_a_server_of_the_environment(
    jr: Jr, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", "postgresql://127.0.0.1:1/x")
    assert jr("status").code == Exit.UNREACHABLE
    assert jr("status", "--database-url", sqlite_url, "--json").json["verdict"] == "no_node"
    assert jr("db", "check", "--database-url", sqlite_url).code == 0


def test_version(jr: Jr) -> None:
    from importlib.metadata import version

    assert jr("--version").out.strip() == version("jobrunner")
