"""``rerun``: another task like one that was there, with other arguments on request."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobrunner.cli import complete, values
from jobrunner.cli.again import stored
from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson, TaskId, Where
from jobrunner.cli.output import document, plain, talk

EXAMPLES = """Examples:

jobrunner rerun nightly-1

jobrunner rerun nightly-1 start_date=2024-01-01 --queue slow"""


def rerun(
    like: TaskId,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="What is different: key=text, key:=json, @file.json, or -."),
    ] = None,
    task_id: Annotated[str | None, typer.Option(help="Your own name for the new one.")] = None,
    queue: Annotated[
        str | None, typer.Option(help="Another queue than the old one's.", autocompletion=complete.queue_names)
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Another priority: 1 to 10, 1 first.")] = None,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Put a new task like this one into the queue, with what is said otherwise; prints its task_id."""
    given = values.arguments(items or [])
    changes: dict[str, Any] = {"queue": queue, "priority": priority}
    with where.desk() as asked:
        if given:
            changes["task_data"] = {**(asked.task(like)["task_data"] or {}), **given}
        told = stored(lambda known: asked.rerun(like, {**changes, "task_id": known}), task_id)
    if not told["created"]:
        talk(f"task {told['task_id']} was there before; it is {told['status']}")
    document(told) if as_json else plain(told["task_id"])


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(rich_help_panel="Tasks", epilog=EXAMPLES)(bundled(rerun))
