"""``submit``: put a task into the queue, and wait for it on request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli import complete, values
from jobrunner.cli.again import stored
from jobrunner.cli.bundles import bundled
from jobrunner.cli.follow import pages, print_lines
from jobrunner.cli.options import AsJson, TaskType, Where
from jobrunner.cli.output import document, line, plain, talk
from jobrunner.cli.patience import Patience
from jobrunner.cli.wait import await_tasks, exit_for, late, tell_if_nobody_works, tell_result
from jobrunner.queue.task import ENDED

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk

EXAMPLES = """Examples:

jobrunner submit data_import symbols:='["000001.SZ"]' start_date=2024-01-01 --wait

jobrunner submit report year:=2024 --follow --wait-timeout 10m

jobrunner submit report @arguments.json --in 10m --queue slow --priority 1"""


def submit(
    task_type: TaskType,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="key=text, key:=json, @file.json, or - for standard input."),
    ] = None,
    task_id: Annotated[str | None, typer.Option(help="Your own name for it.")] = None,
    queue: Annotated[
        str | None, typer.Option(help="The queue it waits in.", autocompletion=complete.queue_names)
    ] = None,
    priority: Annotated[int | None, typer.Option(help="1 to 10, 1 first (default: 5).")] = None,
    at: Annotated[
        datetime | None, typer.Option(parser=values.moment, metavar="TIME", help="Not before this ISO 8601 time.")
    ] = None,
    delay: Annotated[
        float | None, typer.Option("--in", parser=values.duration, metavar="10m", help="Not before this much later.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(parser=values.duration, metavar="5m", help="Limit of each attempt.")
    ] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How many failures end it (default: 3).")] = None,
    expires: Annotated[
        datetime | None, typer.Option(parser=values.moment, metavar="TIME", help="Cancel it if not started by then.")
    ] = None,
    unique_key: Annotated[str | None, typer.Option(help="At most one open task has this key.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be given several times.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; the exit code tells how it ended.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print what it logs until its end, then as --wait does.")
    ] = False,
    wait_timeout: Annotated[
        float | None, typer.Option(parser=values.duration, metavar="10m", help="Stop waiting then; the task goes on.")
    ] = None,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Put a task into the queue; prints its task_id."""
    options: dict[str, Any] = {
        "queue": queue,
        "priority": priority,
        "run_at": at,
        "delay": delay,
        "timeout": timeout,
        "max_attempts": max_attempts,
        "expires_at": expires,
        "unique_key": unique_key,
        "tags": tag or None,
    }
    task_data = values.arguments(items or [])
    opener = where.opener()
    with opener() as desk:
        told = stored(lambda known: desk.submit(task_type, task_data, {**options, "task_id": known}), task_id)
    if not told["created"]:
        talk(f"task {told['task_id']} was there before; it is {told['status']}")
    if not (wait or follow or wait_timeout is not None):
        document(told) if as_json else plain(told["task_id"])
        return
    talk(f"task {told['task_id']}")  # at once: whatever becomes of the waiting, the task is there
    if follow:
        if told["status"] not in ENDED:
            tell_if_nobody_works(opener)
        wait_timeout = _followed(opener, told["task_id"], wait_timeout, as_json=as_json)
    (ended,) = await_tasks(opener, [told["task_id"]], wait_timeout, answered=True)
    if as_json:
        line(ended) if follow else document(ended)  # the last of many, or the only one
    else:
        tell_result(ended)
    raise typer.Exit(exit_for([ended]))


def _followed(opener: Callable[[], Desk], task_id: str, timeout: float | None, *, as_json: bool) -> float | None:
    """Print what the task logs until its end; returns what is left of ``timeout``. Exits with 6 when that passes."""
    until = math.inf if timeout is None else time.monotonic() + timeout
    try:
        for page in pages(opener, task_id, Patience(answered=True), until):
            print_lines(page, as_json=as_json)
    except TimeoutError:
        late([task_id], timeout)
    return None if timeout is None else max(0.0, until - time.monotonic())


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(rich_help_panel="Tasks", epilog=EXAMPLES)(bundled(submit))
