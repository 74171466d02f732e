"""Work on many tasks at once: asked for, confirmed, carried on with a bar, and told."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli import complete
from jobrunner.cli.again import once
from jobrunner.cli.bundles import bundled
from jobrunner.cli.filters import Filter
from jobrunner.cli.forms import Form
from jobrunner.cli.options import AsJson, Where
from jobrunner.cli.output import confirm, document, facts, plain, talk
from jobrunner.cli.wait import task_bars
from jobrunner.queue.operation import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobrunner.client.desk import Desk


class Actions(StrEnum):
    """What may be done, for typer."""

    CANCEL = Action.CANCEL
    RETRY = Action.RETRY
    DELETE = Action.DELETE
    RERUN = Action.RERUN


LOOK_FIRST = "before you begin it again, look with: jobrunner operations list"
LOOK = 0.2  # seconds between two looks at what others carry on with

app = typer.Typer(help="Work on many tasks at once, while it goes on and afterwards.", no_args_is_help=True)

OperationId = Annotated[
    str, typer.Argument(metavar="ID", help="The operation's id.", autocompletion=complete.operation_ids)
]

_OPERATION = ("id", "action", "state", "dry_run", "matched", "changed", "unchanged", "created_at", "created_by")


@dataclass(frozen=True)
class Many:
    """How careful to be with many."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the tasks that fit; change nothing.")] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False


def operate(
    action: str,
    task_ids: Sequence[str] | None,
    fits: Filter,
    many: Many,
    where: Where,
    *,
    as_json: bool,
    asks: bool = False,
) -> None:
    """Do ``action`` to the tasks with these ids, or to all that fit; ``asks`` where even ids are to be confirmed."""
    if bool(task_ids) == fits.says_something:
        raise typer.BadParameter(
            "give task ids, or say which tasks by --status, --type, --queue, --tag, --since or the like"
        )
    chosen: dict[str, Any] = {"ids": list(task_ids)} if task_ids else {"chosen": fits.wanted}

    def begin(asked: Desk, dry_run: bool) -> dict[str, Any]:
        return asked.operate(action, **chosen, dry_run=dry_run)

    done = run(begin, many, where, what=action, confirmed=not asks and bool(task_ids), ids=task_ids)
    tell(done, as_json)


def run(
    begin: Callable[[Desk, bool], dict[str, Any]],
    many: Many,
    where: Where,
    *,
    what: str,
    confirmed: bool = False,
    ids: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Begin an operation, once it is confirmed, and wait for its end; returns it."""
    opener = where.opener()
    if not (many.yes or many.dry_run or confirmed):
        if not sys.stdin.isatty():
            raise typer.BadParameter(_unasked(what, ids))
        with opener() as asked:
            count = _carried(asked, begin(asked, True))
        more = "at least " if count["capped"] else ""
        talk(f"{what}: {more}{count['matched']} tasks.")
        confirm()
    with opener() as asked:
        return _carried(asked, once(lambda: begin(asked, many.dry_run), LOOK_FIRST, "the operation may have begun"))


def _unasked(what: str, ids: Sequence[str] | None) -> str:
    """Why nothing is done where nobody can be asked."""
    if ids:
        them = f"task {ids[0]}" if len(ids) == 1 else f"these {len(ids)} tasks"
        return f"{what} of {them} is to be confirmed, and no terminal is there to ask: --yes does it"
    return "it may concern many tasks: --dry-run counts them, --yes does it"


def _carried(asked: Desk, operation: dict[str, Any]) -> dict[str, Any]:
    try:
        with task_bars() as bars:
            bar = bars.add_task(operation["action"], total=1.0)
            while operation["state"] == "running" and not operation.get("error"):
                if not asked.exclusive:
                    time.sleep(LOOK)
                operation = asked.carry_on(operation["id"])
                bars.update(bar, completed=operation["progress"])
    except KeyboardInterrupt:
        talk(f"It goes on; end it with: jobrunner operations abort {operation['id']}")
        raise
    return operation


def tell(operation: dict[str, Any], as_json: bool) -> None:
    """Say what came of it."""
    if as_json:
        document(operation)
    elif operation["dry_run"]:
        more = "at least " if operation["capped"] else ""
        plain(f"{operation['action']} would concern {more}{operation['matched']} tasks")
    else:
        left = f", {operation['unchanged']} unchanged" if operation["unchanged"] else ""
        state = "" if operation["state"] == "done" else f" ({operation['state']})"
        plain(f"{operation['action']}: {operation['changed']} tasks changed{left}{state}")
    if operation.get("error"):
        talk(f"Its last step failed, and is tried again: {operation['error']}")


@app.command(epilog="Example: jobrunner operations begin rerun --status completed --type data_import --since 1d --yes")
@bundled
def begin(
    action: Annotated[Actions, typer.Argument(metavar="ACTION", help="cancel, retry, delete or rerun.")],
    task_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="task_ids.", autocompletion=complete.task_ids)
    ] = None,
    fits: Filter = Filter(),
    many: Many = Many(),
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Do something to many tasks: all of these, or all that fit.

    rerun adds a task like each of those that have ended; what else there is has a command of its own as well.
    """
    operate(action, task_ids, fits, many, where, as_json=as_json, asks=action == Actions.DELETE)


@app.command("list")
@bundled
def list_operations(form: Form = Form(), where: Where = Where()) -> None:
    """List the latest operations, newest first."""
    with where.desk() as asked:
        told = asked.operations()
    form.all(told, "operations", "id", _OPERATION, unseen=("created_by",))


@app.command()
@bundled
def show(operation_id: OperationId, as_json: AsJson = False, where: Where = Where()) -> None:
    """Tell one operation and how far it is; at the database without a server, a part of it is done first."""
    with where.desk() as asked:
        told = asked.carry_on(operation_id)
    document(told) if as_json else facts(told.items())


@app.command()
@bundled
def abort(operation_id: OperationId, as_json: AsJson = False, where: Where = Where()) -> None:
    """End an operation before its end; what it changed stays so."""
    with where.desk() as asked:
        told = asked.abort_operation(operation_id)
    tell(told, as_json)


def add_to(app_: typer.Typer) -> None:
    """Register the commands."""
    app_.add_typer(app, name="operations", rich_help_panel="Tasks")
