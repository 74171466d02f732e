"""``queues``: paused, resumed, limited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli import values
from jobrunner.cli.bundles import bundled
from jobrunner.cli.complete import queue_names
from jobrunner.cli.forms import Form
from jobrunner.cli.many import Many, run, tell
from jobrunner.cli.options import AsJson, Where
from jobrunner.cli.output import document, plain

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk

app = typer.Typer(help="Queues: what waits in them, pauses and limits.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name.", autocompletion=queue_names)]

_QUEUE = (
    "name",
    "paused",
    "pending",
    "running",
    "max_pending",
    "max_running",
    "paused_at",
    "paused_by",
    "pause_reason",
)


@app.command("list")
@bundled
def list_queues(form: Form = Form(), where: Where = Where()) -> None:
    """List the queues with what waits and runs in them."""
    with where.desk() as asked:
        told = asked.queues()
    form.all(told, "queues", "name", _QUEUE, unseen=("paused_at", "max_running"))


@app.command(epilog='Example: jobrunner queues pause imports --reason "the source is down"')
@bundled
def pause(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; shown to everybody who looks.")] = "",
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Begin nothing of a queue; what runs goes on, what is submitted waits."""
    with where.desk() as asked:
        told = asked.pause_queue(name, reason)
    _tell(told, as_json, f"queue {name} is paused; {told['pending']} tasks wait in it, {told['running']} still run")


@app.command()
@bundled
def resume(name: Name, as_json: AsJson = False, where: Where = Where()) -> None:
    """Begin tasks of a queue again."""
    with where.desk() as asked:
        told = asked.resume_queue(name)
    _tell(told, as_json, f"queue {name} goes on; {told['pending']} tasks wait in it")


@app.command(epilog="Example: jobrunner queues limit imports --max-running 2 --max-pending none")
@bundled
def limit(
    name: Name,
    max_running: Annotated[
        str | None, typer.Option(metavar="N|none", help="Tasks of it that may run at a time, on all nodes.")
    ] = None,
    max_pending: Annotated[
        str | None, typer.Option(metavar="N|none", help="Tasks that may wait in it; more are refused.")
    ] = None,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Limit a queue, or lift its limits with none."""
    given = {"max_running": max_running, "max_pending": max_pending}
    limits = {
        key: values.or_none(text, f"--{key.replace('_', '-')}", values.whole)
        for key, text in given.items()
        if text is not None
    }
    if not limits:
        raise typer.BadParameter("give --max-running, --max-pending or both: a number, or none")
    with where.desk() as asked:
        told = asked.limit_queue(name, limits)
    words = (f"{key} {'none' if told[key] is None else told[key]}" for key in given)
    _tell(told, as_json, f"queue {name}: {', '.join(words)}")


@app.command(epilog="Example: jobrunner queues purge imports --dry-run")
@bundled
def purge(name: Name, careful: Many = Many(), as_json: AsJson = False, where: Where = Where()) -> None:
    """Cancel all that waits in a queue; what runs goes on."""

    def begin(asked: Desk, dry_run: bool) -> dict[str, Any]:
        return asked.purge_queue(name, dry_run=dry_run)

    tell(run(begin, careful, where, what=f"cancel all that waits in {name}"), as_json)


def _tell(told: dict[str, Any], as_json: bool, said: str) -> None:
    document(told) if as_json else plain(said)


def add_to(app_: typer.Typer) -> None:
    """Register the commands."""
    app_.add_typer(app, name="queues", rich_help_panel="Fleet and schedules")
