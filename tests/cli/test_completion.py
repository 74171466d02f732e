"""Completion in a real shell: what a running system knows, and silence where it cannot be asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobrunner.db.engine import open_database
from jobrunner.queue import store
from tests.processes import INHERITED

pytestmark = pytest.mark.ci

ROOT = Path(__file__).parents[2]
TRIES = 5  # on a busy machine an answer comes too late, and is then not told

ASK = """
eval "$(jobrunner completion bash)"
COMP_WORDS=({words}) COMP_CWORD={place}
_jobrunner_completion jobrunner
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def shell(tmp_path: Path, sqlite_url: str) -> dict[str, str]:
    """The environment of a shell that finds ``jobrunner``, and a database that knows two task types and a queue."""
    database = open_database(sqlite_url)
    with database.begin() as conn:
        kinds = [{"name": name, "schema": "{}"} for name in ("report", "reindex")]
        store.publish(conn, kinds)
        store.pause_queue(conn, "nightly", by="a test")
    database.close()
    program = tmp_path / "bin" / "jobrunner"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m jobrunner "$@"\n')
    program.chmod(0o755)
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return env | {"PATH": f"{program.parent}:{env['PATH']}", "JOBRUNNER_DATABASE_URL": sqlite_url}


def _completed(words: str, env: dict[str, str]) -> tuple[list[str], str]:
    """What bash offers for the last of these words, and what it was told besides."""
    script = ASK.format(words=words, place=len(words.split()) - 1)
    told = subprocess.run(["bash", "--norc", "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout.split(), told.stderr


def _until(words: str, env: dict[str, str], wanted: list[str]) -> None:
    for _ in range(TRIES):
        found, errors = _completed(words, env)
        assert errors == ""
        if found == wanted:
            return
    raise AssertionError(f"{words}: {found}")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to complete in")
def test_bash_completes_what_the_database_knows(shell: dict[str, str]) -> None:
    assert _completed("jobrunner que", shell) == (["queues"], "")
    _until("jobrunner submit re", shell, ["reindex", "report"])
    _until("jobrunner list --type rep", shell, ["report"])
    _until("jobrunner queues resume ni", shell, ["nightly"])


@pytest.mark.ci
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to complete in")
def test_nothing_is_said_where_nobody_answers(shell: dict[str, str]) -> None:
    for setting in (
        {"JOBRUNNER_DATABASE_URL": "postgresql://127.0.0.1:1/x"},
        {"JOBRUNNER_URL": "http://127.0.0.1:1"},
        {"JOBRUNNER_MAX_WORKERS": "few"},
    ):
        assert _completed("jobrunner submit re", {**shell, **setting}) == ([], "")


@pytest.mark.ci
@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_are_told_the_same(name: str, shell: dict[str, str]) -> None:
    asked = {"_JOBRUNNER_COMPLETE": f"complete_{name}", "_TYPER_COMPLETE_ARGS": "jobrunner submit re"}
    asked["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    for _ in range(TRIES):
        told = subprocess.run(["jobrunner"], env={**shell, **asked}, capture_output=True, text=True, timeout=60)
        assert (told.returncode, told.stderr) == (0, "")
        if "reindex" in told.stdout:
            break
    assert "reindex" in told.stdout
    assert "report" in told.stdout
