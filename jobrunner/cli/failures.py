"""``errors`` and ``stats``: failed tasks of one kind together, and figures of the last hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.complete import fingerprints
from jobrunner.cli.forms import Form, alone
from jobrunner.cli.many import Many, run, tell
from jobrunner.cli.options import AsJson, Where
from jobrunner.cli.output import document, facts, plain, table, talk

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk

app = typer.Typer(help="Failed tasks, those of one kind together.", invoke_without_command=True)

Fingerprint = Annotated[
    str, typer.Argument(metavar="FINGERPRINT", help="As errors tells it.", autocompletion=fingerprints)
]

_GROUP = ("fingerprint", "task_type", "error_class", "count", "first_at", "last_at", "last_task_id", "example")
_ENDED = ("name", "completed", "failed", "cancelled", "mean_seconds", "p95_seconds")
_QUEUE = ("name", "paused", "pending", "running")


@app.callback()
@bundled
def errors(ctx: typer.Context, form: Form = Form(), where: Where = Where()) -> None:
    """Failed tasks, those of one kind together: without a command, the kinds, the one that failed last first."""
    if alone(ctx, form, where):
        _list(form, where)


@app.command("list", epilog="Example: jobrunner errors list --json")
@bundled
def list_errors(form: Form = Form(), where: Where = Where()) -> None:
    """List the kinds of failures, the one that failed last first."""
    _list(form, where)


def _list(form: Form, where: Where) -> None:
    with where.desk() as asked:
        told = asked.errors()
    form.all(told, "errors", "fingerprint", _GROUP, unseen=("first_at", "error_class"))
    if not told["all"]:
        talk(f"of the newest {told['looked_at']} failed tasks")


@app.command()
@bundled
def show(fingerprint: Fingerprint, as_json: AsJson = False, where: Where = Where()) -> None:
    """Tell one kind of failure with the ids of its tasks, the latest first."""
    with where.desk() as asked:
        told = asked.error(fingerprint)
    if as_json:
        document(told)
        return
    facts((name, told[name]) for name in _GROUP)
    plain("")
    table(("task_id",), ([task_id] for task_id in told["task_ids"]))


@app.command(epilog="Example: jobrunner errors retry 6f1d2c0a9be4 --yes")
@bundled
def retry(fingerprint: Fingerprint, careful: Many = Many(), as_json: AsJson = False, where: Where = Where()) -> None:
    """Run the tasks of one kind of failure again, the latest 200 of them."""

    def begin(asked: Desk, dry_run: bool) -> dict[str, Any]:
        return asked.operate("retry", ids=asked.error(fingerprint)["task_ids"], dry_run=dry_run)

    tell(run(begin, careful, where, what="retry"), as_json)


def stats(as_json: AsJson = False, where: Where = Where()) -> None:
    """Tell tasks by status, queues as they stand, and what ended within an hour: how many, how long, how badly."""
    with where.desk() as asked:
        told = asked.stats()
    if as_json:
        document(told)
        return
    facts(told["counts"].items())
    for name, headers, rows in (
        (f"types since {told['since']}", _ENDED, told["types"]),
        (f"queues since {told['since']}", _ENDED, told["ended"]),
        ("queues", _QUEUE, told["queues"]),
    ):
        if rows:
            plain(f"\n{name}")
            table(headers, ([one[header] for header in headers] for one in rows))


def add_to(app_: typer.Typer) -> None:
    """Register the commands."""
    app_.add_typer(app, name="errors", rich_help_panel="Tasks")
    app_.command(rich_help_panel="Fleet and schedules", epilog="Example: jobrunner stats --json")(bundled(stats))
