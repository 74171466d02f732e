"""The command ``jobrunner``: its groups of commands, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn, cast

import typer

from jobrunner import errors
from jobrunner.cli import (
    about,
    bench,
    cancel,
    config,
    db,
    doctor,
    failures,
    keys,
    look,
    many,
    nodes,
    openapi,
    queues,
    rerun,
    schedules,
    serve,
    submit,
    top,
    wait,
    why,
)
from jobrunner.cli.exits import Exit, exit_of
from jobrunner.cli.hints import distrust, hint
from jobrunner.cli.options import traceback_wanted, want_traceback
from jobrunner.cli.output import NobodyReads, talk
from jobrunner.settings import colors
from jobrunner.text import mask

_Misuse = cast("type[Exception]", typer.BadParameter.__mro__[2])  # ClickException: typer exports only its child

app = typer.Typer(
    name="jobrunner",
    help="A serverless-style job runner on a SQL queue.",
    epilog="Start here: jobrunner up --demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    serve,
    submit,
    look,
    wait,
    why,
    cancel,
    rerun,
    failures,
    many,
    nodes,
    queues,
    top,
    keys,
    doctor,
    openapi,
    about,
    bench,
):
    group.add_to(app)
app.add_typer(schedules.app, name="schedules", rich_help_panel="Fleet and schedules")
app.add_typer(db.app, name="db", rich_help_panel="Set up")
app.add_typer(config.app, name="config", rich_help_panel="Set up")


def _version(wanted: bool) -> None:
    if wanted:
        print(version("jobrunner"))  # noqa: T201 - data of a command
        raise typer.Exit


def _no_color(wanted: bool) -> None:
    if wanted:
        colors.forbid()


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where an error is told.")] = False,
    no_color: Annotated[
        bool,
        typer.Option(
            "--no-color", callback=_no_color, is_eager=True, help="No colours, as NO_COLOR in the environment."
        ),
    ] = False,
    told_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """A serverless-style job runner on a SQL queue: PostgreSQL for many machines, SQLite for one process."""
    if debug:
        want_traceback()


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """The console script: run the command line and exit with its code."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no console's encoding may fail a command
    sys.exit(main(argv))


def _open_closed() -> None:
    """A stream that was closed (``>&-``) leads to nowhere, and so does its number: the database would get it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - to the end of the process


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: the process's own); returns its exit code. An error is told in a sentence."""
    try:
        told: Any = app(argv, prog_name="jobrunner", standalone_mode=False)
        sys.stdout.flush()
    except (NobodyReads, BrokenPipeError):  # the latter by the last flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except _Misuse as error:
        return _misused(error)
    except Exception as error:  # noqa: BLE001  the last line of defence: a sentence, not a traceback
        return _failed(error)
    return told if isinstance(told, int) else Exit.OK


def _misused(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())  # noqa: T201 - data of a command
        return Exit.USAGE
    command = error.ctx.command_path if getattr(error, "ctx", None) else "jobrunner"
    told = error.format_message().rstrip(".").replace(": Value error, ", ": ", 1)  # so it has it from pydantic
    talk(f"jobrunner: {told}. See: {command} --help")
    return Exit.USAGE


def _failed(error: Exception) -> int:
    code = exit_of(error)
    if traceback_wanted():
        talk(mask("".join(traceback.format_exception(error)).rstrip()))
    told = mask(distrust(error) or str(error))
    if isinstance(error, errors.DatabaseUnavailable):
        told = f"the database cannot be reached: {told}. Its URL: jobrunner config show"
    elif code is Exit.INTERNAL:
        told = f"internal error, {type(error).__name__}: {told}. For its traceback: jobrunner --debug ..."
    mend = hint(error)
    talk(f"jobrunner: {told}; {mend}" if mend else f"jobrunner: {told}")
    return code
