"""``openapi``: the document of the REST calls, for generators of clients."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.output import plain


def openapi(
    as_json: Annotated[bool, typer.Option("--json", help="On one line; else indented.")] = False,
) -> None:
    """Print the OpenAPI 3.1 document of the REST calls, as a server gives it at /api/v1/openapi.json."""
    from jobrunner.api.openapi import document
    from jobrunner.api.routes import TABLE

    plain(json.dumps(document(TABLE), indent=None if as_json else 2))


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(rich_help_panel="Set up", epilog="Example: jobrunner openapi --json")(bundled(openapi))
