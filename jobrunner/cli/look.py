"""``status``, ``list`` and ``logs``: looking, without changing anything."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli import complete
from jobrunner.cli.bundles import bundled
from jobrunner.cli.exits import Exit
from jobrunner.cli.filters import Filter
from jobrunner.cli.follow import pages, print_lines
from jobrunner.cli.forms import Form
from jobrunner.cli.live import Watch
from jobrunner.cli.options import AsJson, Cursor, TaskId, Where
from jobrunner.cli.output import document, facts, plain, shortened, table, talk
from jobrunner.cli.patience import Patience
from jobrunner.cli.verdicts import VERDICTS

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk

PAGE = 200  # tasks that one look brings

_TASK_FACTS = (
    *("task_id", "task_type", "status", "reason", "queue", "priority", "tags", "attempt", "max_attempts", "failures"),
    *("crashes", "losses", "run_at", "created_at", "started_at", "completed_at", "execution_time", "node_id"),
    *("progress", "message", "error", "task_data", "result"),
)
_QUIET_AT_ZERO = frozenset({"attempt", "failures", "crashes", "losses", "execution_time"})
_ATTEMPT = ("attempt", "outcome", "node_id", "started_at", "ended_at", "error_class", "error")


def status(
    task_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A task_id; without it, the whole.", autocompletion=complete.task_ids),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 4 unless all is well.")] = False,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Tell one task with its attempts, or whether all is well and how many tasks there are."""
    if task_id is not None:
        _one(task_id, as_json, where)
        return
    with where.desk() as asked:
        told = asked.overview()
    if as_json:
        document(told)
    else:
        plain(VERDICTS.get(told["verdict"], str(told["verdict"])))
        facts([("nodes_alive", told["nodes_alive"]), ("waiting_seconds", told["waiting_seconds"])])
        facts(told["counts"].items())
    if check and told["verdict"] != "ok":
        raise typer.Exit(Exit.TASK_FAILED)


def _one(task_id: str, as_json: bool, where: Where) -> None:
    with where.desk() as asked:
        task = asked.task(task_id)
        tried = asked.attempts(task_id)["attempts"]
    if as_json:
        document({**task, "attempts": tried})
        return
    told = {**task, "error": shortened(task["error"])}
    if told["reason"] == told["status"]:  # nothing finer
        told["reason"] = None
    facts((name, told[name]) for name in _TASK_FACTS if told[name] or name not in _QUIET_AT_ZERO)
    if tried:
        plain("")
        tried = [{**one, "error": shortened(one["error"])} for one in tried]
        table(_ATTEMPT, ([one[name] for name in _ATTEMPT] for one in tried), unseen=("node_id",))


_TASK = ("task_id", "task_type", "status", "reason", "queue", "priority", "attempt", "progress", "created_at", "error")


_UNSEEN = ("priority", "attempt")


def list_tasks(
    fits: Filter = Filter(),
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many at most (default: 50; with --jsonl and --quiet all).")
    ] = None,
    cursor: Cursor = None,
    form: Form = Form(),
    watch: Watch = Watch(),
    where: Where = Where(),
) -> None:
    """List tasks, newest first."""
    wanted = fits.wanted
    opener = where.opener()

    def first() -> dict[str, Any]:
        with opener() as asked:
            return _page(asked, wanted, min(limit or 50, PAGE), cursor)

    watch.show(form, first, "tasks", _TASK, unseen=_UNSEEN)
    if form.streams:
        with opener() as asked:
            for task in islice(_pages(asked, wanted, cursor), limit):
                form.one(task, "task_id")
        return
    page = first()
    form.all(page, "tasks", "task_id", _TASK, unseen=_UNSEEN)
    if page["next_cursor"] and not form.as_json:
        talk(f"more with: --cursor {page['next_cursor']}")


def _page(asked: Desk, wanted: dict[str, Any], most: int, cursor: str | None) -> dict[str, Any]:
    page = asked.tasks(**wanted, limit=most, cursor=cursor)
    while not page["tasks"] and page["next_cursor"]:  # a page looks at a part of the tasks, none of which did fit
        page = asked.tasks(**wanted, limit=most, cursor=page["next_cursor"])
    return page


def _pages(asked: Desk, wanted: dict[str, Any], cursor: str | None) -> Iterator[dict[str, Any]]:
    while True:
        page = asked.tasks(**wanted, limit=PAGE, cursor=cursor)
        yield from page["tasks"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def logs(
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the task ends.")] = False,
    as_json: AsJson = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON document per line, as they come.")] = False,
    where: Where = Where(),
) -> None:
    """Print what a task logged; with --follow and --json, one document per line."""
    after, lines = 0, []
    for page in pages(where.opener(), task_id, Patience() if follow else None):
        after = page["next_after"]
        if as_jsonl or follow or not as_json:
            print_lines(page, as_json=as_json or as_jsonl)
        lines += page["logs"]
    if as_json and not (follow or as_jsonl):
        document({"logs": lines, "next_after": after})


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(rich_help_panel="Tasks", epilog="Example: jobrunner status --check")(bundled(status))
    app.command(
        "list",
        rich_help_panel="Tasks",
        epilog="Examples:\n\njobrunner list --status failed --since 1d --type report --json\n\n"
        "jobrunner list --status running --watch",
    )(bundled(list_tasks))
    app.command(rich_help_panel="Tasks", epilog="Example: jobrunner logs nightly-1 --follow")(bundled(logs))
