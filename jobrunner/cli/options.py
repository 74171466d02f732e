"""Options that many commands share, and what they lead to: the settings and a desk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli.output import talk

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk
    from jobrunner.settings import Loaded

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, with REST's keys.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="JOBRUNNER_URL",
        metavar="URL",
        help="Ask the jobrunner that serves here, instead of the database.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="JSON file of settings; else JOBRUNNER_CONFIG, else node_config.json."
    ),
]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's task_id.")]

_traceback_wanted = False


def want_traceback() -> None:
    """From now on an error shows its traceback."""
    global _traceback_wanted
    _traceback_wanted = True


def traceback_wanted() -> bool:
    """Whether ``--debug`` or the log level DEBUG asks for tracebacks."""
    return _traceback_wanted


def settings_of(config: Path | None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """Load the settings; tells their warnings."""
    from jobrunner.settings import load

    loaded = load(flags, config)
    for warning in loaded.warnings:
        talk(f"warning: {warning}")
    if loaded.settings.log_level == "DEBUG":
        want_traceback()
    return loaded


def search_here() -> None:
    """Find modules of handlers in the working directory: in every command that may load them."""
    here = str(Path.cwd())
    if here not in sys.path:  # behind all others: a file of the user's must not hide an installed module
        sys.path.append(here)


def desk_opener(url: str | None, config: Path | None) -> Callable[[], Desk]:
    """What opens a desk, as often as it is called, by settings read once."""
    from jobrunner.client.choose import open_desk

    search_here()  # a submission straight into the database is checked by its handler
    settings = settings_of(config).settings
    return lambda: open_desk(settings, url)


def desk(url: str | None, config: Path | None) -> Desk:
    """Open the desk that ``--url``, the environment and the config file lead to; for a ``with`` block."""
    return desk_opener(url, config)()
