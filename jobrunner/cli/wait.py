"""``wait``: block until tasks end; progress to standard error, results to standard output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from jobrunner.cli import complete, values
from jobrunner.cli.bundles import bundled
from jobrunner.cli.exits import Exit
from jobrunner.cli.options import AsJson, Where
from jobrunner.cli.output import document, talk
from jobrunner.cli.patience import Patience
from jobrunner.errors import JobrunnerError
from jobrunner.queue.task import ENDED
from jobrunner.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress

    from jobrunner.client.desk import Desk


def wait(
    task_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Task ids.", autocompletion=complete.task_ids)],
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
    opener: Callable[[], Desk],
    task_ids: Sequence[str],
    timeout: float | None = None,
    *,
    lines: bool = False,
    answered: bool = False,
) -> list[dict[str, Any]]:
    """Wait with a progress bar on a terminal; the tasks as they ended, in the order of their ids.

    Elsewhere ``lines`` tells each change of progress in a plain line. An outage is waited out once somebody
    ``answered``, as in the restart of a server.

    Exits with 6 when ``timeout`` (seconds) passes first.
    """
    found: dict[str, dict[str, Any]] = {}
    bars = task_bars()
    shown: dict[str, Any] = {}
    said: dict[str, str] = {}
    try:
        with bars:
            for task in _watched(opener, task_ids, timeout, Patience(answered=answered)):
                found[task["task_id"]] = task
                if not shown and task["completed_at"] is None:
                    tell_if_nobody_works(opener)
                if task["task_id"] not in shown:
                    shown[task["task_id"]] = bars.add_task(_label(task), total=1.0)
                if lines and bars.disable and said.get(task["task_id"]) != _line(task):
                    said[task["task_id"]] = _line(task)
                    talk(_line(task))
                bars.update(shown[task["task_id"]], completed=_fraction(task), description=_label(task))
    except TimeoutError:
        late(
            [name for name in dict.fromkeys(task_ids) if name not in found or found[name]["completed_at"] is None],
            timeout,
        )
    return [found[task_id] for task_id in dict.fromkeys(task_ids)]


def late(task_ids: Sequence[str], timeout: float | None) -> NoReturn:
    """Say that these did not end within ``timeout`` seconds, and end the command."""
    talk(f"jobrunner: {', '.join(task_ids)} did not end in {timeout:g} s and goes on; look with: jobrunner status ID")
    raise typer.Exit(Exit.TIMED_OUT) from None


def _watched(
    opener: Callable[[], Desk], task_ids: Sequence[str], timeout: float | None, patience: Patience
) -> Iterator[dict[str, Any]]:
    """Yield the tasks as ``watch`` does, across outages."""
    from jobrunner.client.watch import watch

    until = None if timeout is None else time.monotonic() + timeout
    left = dict.fromkeys(task_ids)
    while left:
        try:
            for task in watch(opener, [*left], None if until is None else until - time.monotonic()):
                patience.heard()
                yield task
                if task["status"] in ENDED:
                    left.pop(task["task_id"], None)
        except JobrunnerError as error:
            if patience.answered and until is not None and time.monotonic() >= until:
                raise TimeoutError from error
            patience.rest(error)


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


def tell_if_nobody_works(opener: Callable[[], Desk]) -> None:
    """Say so where what waits has nobody to run it."""
    try:
        with opener() as desk:
            alive = desk.overview()["nodes_alive"]
    except JobrunnerError:  # who waits looks again, and is told whatever it is
        return
    if not alive:
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
