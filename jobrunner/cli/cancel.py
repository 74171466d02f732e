"""``cancel`` and ``retry``: what people ask of one task."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson, TaskId, Where
from jobrunner.cli.output import document, plain


def cancel(
    task_id: TaskId,
    reason: Annotated[str, typer.Option(help="Why; kept with the task.")] = "",
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Cancel a task: a pending one at once, a running one within its grace."""
    with where.desk() as asked:
        task = asked.cancel(task_id, reason)
    _tell(task, as_json, "is cancelled" if task["status"] == "cancelled" else "is asked to stop")


def retry(task_id: TaskId, as_json: AsJson = False, where: Where = Where()) -> None:
    """Run a failed or cancelled task again, with fresh budgets."""
    with where.desk() as asked:
        task = asked.retry(task_id)
    _tell(task, as_json, "is in the queue again")


def _tell(task: dict[str, Any], as_json: bool, what: str) -> None:
    if as_json:
        document(task)
    else:
        plain(f"task {task['task_id']} {what}")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(rich_help_panel="Tasks")(bundled(cancel))
    app.command(rich_help_panel="Tasks")(bundled(retry))
