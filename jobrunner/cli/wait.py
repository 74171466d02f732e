"""``wait``: block until tasks end; progress to standard error, results to standard output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli import values
from jobrunner.cli.bundles import bundled
from jobrunner.cli.exits import Exit
from jobrunner.cli.options import AsJson, Where
from jobrunner.cli.output import document, talk
from jobrunner.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress

    from jobrunner.client.desk import Desk


def wait(
    task_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Task ids.")],
    timeout: Annotated[
        float | None, typer.Option(parser=values.duration, metavar="10m", help="Stop waiting then; the tasks go on.")
    ] = None,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Wait until tasks end and print their results; the exit code tells the worst end (4 failed, 5 cancelled)."""
    ended = await_tasks(where.opener(), task_ids, timeout)
    if as_json:
        document({"tasks": ended})
    else:
        for task in ended:
            tell_result(task)
    raise typer.Exit(exit_for(ended))


def await_tasks(
    opener: Callable[[], Desk], task_ids: Sequence[str], timeout: float | None = None, *, lines: bool = False
) -> list[dict[str, Any]]:
    """Wait with a progress bar on a terminal; the tasks as they ended, in the order of their ids.

    Elsewhere ``lines`` tells each change of progress in a plain line.

    Exits with 6 when ``timeout`` (seconds) passes first.
    """
    from jobrunner.client.watch import watch

    found: dict[str, dict[str, Any]] = {}
    bars = task_bars()
    shown: dict[str, Any] = {}
    said: dict[str, str] = {}
    try:
        with bars:
            for task in watch(opener, task_ids, timeout):
                found[task["task_id"]] = task
                if not shown and task["completed_at"] is None:
                    _tell_if_nobody_works(opener)
                if task["task_id"] not in shown:
                    shown[task["task_id"]] = bars.add_task(_label(task), total=1.0)
                if lines and bars.disable and said.get(task["task_id"]) != _line(task):
                    said[task["task_id"]] = _line(task)
                    talk(_line(task))
                bars.update(shown[task["task_id"]], completed=_fraction(task), description=_label(task))
    except TimeoutError:
        late = [task["task_id"] for task in found.values() if task["completed_at"] is None]
        talk(f"jobrunner: {', '.join(late)} did not end in {timeout:g} s and goes on; look with: jobrunner status ID")
        raise typer.Exit(Exit.TIMED_OUT) from None
    return [found[task_id] for task_id in dict.fromkeys(task_ids)]


def exit_for(ended: Sequence[dict[str, Any]]) -> Exit:
    """The exit code for how tasks ended: the worst counts."""
    statuses = {task["status"] for task in ended}
    if "failed" in statuses:
        return Exit.TASK_FAILED
    return Exit.TASK_CANCELLED if "cancelled" in statuses else Exit.OK


def tell_result(task: dict[str, Any]) -> None:
    """The result to standard output; a bad end, with its reason, to standard error."""
    if task["status"] == "completed":
        document(task["result"])
    else:
        talk(f"task {task['task_id']} {task['status']}: {task['error'] or 'no reason given'}")


def task_bars() -> Progress:
    """Progress bars on standard error; nothing at all where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _tell_if_nobody_works(opener: Callable[[], Desk]) -> None:
    with opener() as desk:
        if not desk.overview()["nodes_alive"]:
            talk("No worker is alive, so nothing runs now; start one with: jobrunner up (or: jobrunner worker)")


def _label(task: dict[str, Any]) -> str:
    said = task["message"] or task["reason"]
    return visible(f"{task['task_id'][-36:]} {said}"[:100], one_line=True)


def _line(task: dict[str, Any]) -> str:
    return f"{task['status']:<9} {_fraction(task):>4.0%} {task['message']}".rstrip()


def _fraction(task: dict[str, Any]) -> float:
    return 1.0 if task["completed_at"] else float(task["progress"] or 0.0)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    example = "Example: jobrunner wait nightly-1 nightly-2 --timeout 1h"
    app.command(rich_help_panel="Tasks", epilog=example)(bundled(wait))
