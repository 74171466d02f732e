"""``config``: what is set and by what, whether it makes sense, and a file to begin with."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from jobrunner.cli import values
from jobrunner.cli.exits import Exit
from jobrunner.cli.findings import tell_findings
from jobrunner.cli.options import AsJson, ConfigFile, search_here, settings_of
from jobrunner.cli.output import document, plain, table, talk
from jobrunner.text import is_secret, mask

app = typer.Typer(help="Settings: what is set, and by what.", no_args_is_help=True)

EXAMPLES = """Examples:

jobrunner config init

jobrunner config init --config node.json database_url=postgresql://jobrunner@db/jobrunner max_workers:=8

echo '{"api_key": "..."}' | jobrunner config init --config node.json -"""


@app.command()
def show(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print every setting with its value and its source; secrets are masked."""
    from jobrunner.settings import shown

    rows = shown(settings_of(config))
    if as_json:
        document({"settings": [{"key": key, "value": value, "source": source} for key, value, source in rows]})
    else:
        table(("key", "value", "source"), rows)


@app.command(epilog="Example: jobrunner config check --config node_config.json")
def check(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Look for what is wrong with the settings, before anything is started; exits with 2 if anything is.

    Reads them, loads the handlers and looks at the schedules and the files that they name. It asks neither a database
    nor a server: that is doctor's.
    """
    from jobrunner.client.checkup_settings import of_sources

    search_here()  # as a worker that is started here
    tell_findings(list(of_sources(config)), as_json, Exit.USAGE)


@app.command(epilog=EXAMPLES)
def init(
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="SETTING", help="key=text, key:=json, @file.json, or - for standard input."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Write a file of settings to begin with, for this user alone; prints its path. One that is there stays."""
    from jobrunner.client.checkup_settings import check_schedules
    from jobrunner.settings import start_file

    given = values.arguments(items or [])
    empty = [key for key, value in given.items() if value == ""]  # perhaps of a variable that is not set
    if empty:
        raise typer.BadParameter(f"{empty[0]} is empty; leave it out, or write {empty[0]}:=null")
    typed = values.arguments([item for item in items or [] if item != "-" and not item.startswith("@")])
    for key, value in typed.items():
        if value is not None and (is_secret(key) or mask(str(value)) != str(value)):
            raise typer.BadParameter(
                f"{key} holds a secret, and everybody on the machine can read command lines: give it as JSON by - or "
                "@file.json, or write it into the file afterwards"
            )
    path = start_file(config, given, check_schedules)
    known = sorted(key for key, value in given.items() if value is not None)
    document({"path": str(path), "set": known}) if as_json else plain(str(path))
    named = f" --config {shlex.quote(str(path))}" if config is not None else ""
    talk(f"What is null is not set: its default counts. All keys: jobrunner config show{named}")
    talk(f"Before a start: jobrunner config check{named}")
