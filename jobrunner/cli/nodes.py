"""``nodes``: the processes that work."""

from __future__ import annotations

from typing import Annotated

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson, Where
from jobrunner.cli.output import document, table

_NODE = (
    *("name", "host", "pid", "alive", "state", "running", "slots", "completed", "failed", "cpu_percent"),
    *("memory_percent", "heartbeat_at", "address", "id"),
)


def nodes(
    everyone: Annotated[bool, typer.Option("--all", help="Also those that stopped or died.")] = False,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """List the nodes that live."""
    with where.desk() as asked:
        told = asked.nodes()
    if not everyone:
        told["nodes"] = [node for node in told["nodes"] if node["alive"]]
    if as_json:
        document(told)
    else:
        table(_NODE, ([node[name] for name in _NODE] for node in told["nodes"]), unseen=("host", "id"))


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(rich_help_panel="Fleet and schedules", epilog="Example: jobrunner nodes --all --json")(bundled(nodes))
