"""``why``: what keeps a task from running."""

from __future__ import annotations

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson, TaskId, Where
from jobrunner.cli.output import document, plain, table


def why(task_id: TaskId, as_json: AsJson = False, where: Where = Where()) -> None:
    """Tell why a task is not running: every reason, as a worker that looks for tasks would find it now."""
    with where.desk() as asked:
        told = asked.why(task_id)
    if as_json:
        document(told)
        return
    plain(f"task {told['task_id']} is {told['status']}")
    table(("code", "detail"), ([one["code"], one["detail"]] for one in told["reasons"]))


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(rich_help_panel="Tasks", epilog="Example: jobrunner why nightly-1")(bundled(why))
