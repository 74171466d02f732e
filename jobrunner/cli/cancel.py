"""``cancel``, ``retry`` and ``delete``: what people ask of one task, of some, or of all that fit."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobrunner.cli import complete
from jobrunner.cli.bundles import bundled
from jobrunner.cli.filters import Filter
from jobrunner.cli.many import Many, operate
from jobrunner.cli.options import AsJson, Where
from jobrunner.cli.output import document, plain
from jobrunner.errors import StateConflict

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="The task's task_id, or several.", autocompletion=complete.task_ids),
]


def cancel(
    task_ids: Ids = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the task. For one ID.")] = "",
    fits: Filter = Filter(),
    many: Many = Many(),
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Cancel tasks: pending ones at once, running ones within their grace. By ID, or all that fit."""
    if not _one(task_ids, fits, many):
        if reason:
            raise typer.BadParameter("a reason is kept with one task: give one ID", param_hint="--reason")
        operate("cancel", task_ids, fits, many, where, as_json=as_json)
        return
    with where.desk() as asked:
        task = asked.cancel(_the(task_ids), reason)
    _tell(task, as_json, "is cancelled" if task["status"] == "cancelled" else "is asked to stop")


def retry(
    task_ids: Ids = None,
    fits: Filter = Filter(),
    many: Many = Many(),
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Run failed or cancelled tasks again, with fresh budgets. By ID, or all that fit."""
    if not _one(task_ids, fits, many):
        operate("retry", task_ids, fits, many, where, as_json=as_json)
        return
    with where.desk() as asked:
        task = asked.retry(_the(task_ids))
    _tell(task, as_json, "is in the queue again")


def delete(
    task_ids: Ids = None,
    fits: Filter = Filter(),
    many: Many = Many(),
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Delete ended tasks with their attempts and logs, for good. By ID, or all that fit."""
    if _one(task_ids, fits, many):
        with where.desk() as asked:
            task = asked.task(_the(task_ids))
        if task["completed_at"] is None:
            raise StateConflict(task["task_id"], found=task["status"], wish="deleted")
    operate("delete", task_ids, fits, many, where, as_json=as_json, asks=True)


def _one(task_ids: list[str] | None, fits: Filter, many: Many) -> bool:
    return len(task_ids or []) == 1 and not fits.says_something and not many.dry_run


def _the(task_ids: list[str] | None) -> str:
    return (task_ids or [""])[0]


def _tell(task: dict[str, Any], as_json: bool, what: str) -> None:
    if as_json:
        document(task)
    else:
        plain(f"task {task['task_id']} {what}")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command, example in (
        (cancel, "jobrunner cancel --status pending --queue imports --dry-run"),
        (retry, "jobrunner retry --status failed --type report --since 1d --yes"),
        (delete, "jobrunner delete --status completed --until 30d --yes"),
    ):
        app.command(rich_help_panel="Tasks", epilog=f"Example: {example}")(bundled(command))
