"""``config``: what is set, and by what."""

from __future__ import annotations

import typer

from jobrunner.cli.options import AsJson, ConfigFile, settings_of
from jobrunner.cli.output import document, table

app = typer.Typer(help="What is set, and by what.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """What is set, and by what."""


@app.command()
def show(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print every setting with its value and its source; secrets are masked."""
    from jobrunner.settings import shown

    rows = shown(settings_of(config))
    if as_json:
        document({"settings": [{"key": key, "value": value, "source": source} for key, value, source in rows]})
    else:
        table(("key", "value", "source"), rows)
