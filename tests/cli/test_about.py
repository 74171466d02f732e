"""``version`` and ``completion``, for scripts and packagers."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

from jobrunner.cli.exits import Exit
from jobrunner.db import migrate
from tests.cli.conftest import Jr

MARKS = {
    "bash": "complete -o default -F _jobrunner_completion jobrunner",
    "zsh": "#compdef jobrunner",
    "fish": "complete --command jobrunner",
    "powershell": "Register-ArgumentCompleter -Native -CommandName jobrunner",
}


def test_the_versions(jr: Jr) -> None:
    told = {"jobrunner": version("jobrunner"), "python": platform.python_version(), "schema": migrate.head()}
    assert jr("version", "--json").json == told
    assert jr("version").out == "".join(f"{name}\t{value}\n" for name, value in told.items())


@pytest.mark.parametrize("shell", MARKS)
def test_the_script_for_each_shell(jr: Jr, shell: str) -> None:
    script = jr("completion", shell).out
    assert MARKS[shell] in script
    assert "_JOBRUNNER_COMPLETE" in script
    assert jr("completion", shell, "--json").json == {"shell": shell, "script": script.rstrip("\n")}


def test_it_is_the_script_that_is_installed() -> None:
    undetected = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    told = [
        subprocess.run(
            [sys.executable, "-m", "jobrunner", *words], env=env, capture_output=True, check=True, timeout=60
        )
        for words, env in ((("completion", "bash"), {}), (("--show-completion", "bash"), undetected))
    ]
    assert told[0].stdout == told[1].stdout


def test_another_shell_is_refused_with_the_names(jr: Jr) -> None:
    told = jr("completion", "tcsh")
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert "powershell" in told.err
