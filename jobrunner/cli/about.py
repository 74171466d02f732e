"""``version`` and ``completion``: what this program is, and what a shell needs to complete its commands."""

from __future__ import annotations

import platform
from enum import StrEnum
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson
from jobrunner.cli.output import document, facts, plain
from jobrunner.db.number import SCHEMA


class Shell(StrEnum):
    """The shells that commands are completed in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def version(as_json: AsJson = False) -> None:
    """Tell the versions of jobrunner, of Python, and of the database schema that this jobrunner needs."""
    told = {"jobrunner": version_of("jobrunner"), "python": platform.python_version(), "schema": f"{SCHEMA:04d}"}
    document(told) if as_json else facts(told.items())


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
    as_json: AsJson = False,
) -> None:
    """Print the script that completes commands in a shell; --install-completion puts it where yours finds it."""
    from typer._completion_shared import get_completion_script  # nothing public prints it for a shell that is not here

    script = get_completion_script(prog_name="jobrunner", complete_var="_JOBRUNNER_COMPLETE", shell=shell.value)
    document({"shell": shell, "script": script}) if as_json else plain(script)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    panel = "Set up"
    app.command(rich_help_panel=panel, epilog="Example: jobrunner version --json")(bundled(version))
    example = "Example: jobrunner completion zsh"
    app.command(rich_help_panel=panel, epilog=example)(bundled(completion))
