"""``top``: the whole in the terminal, again and again, without a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.live import Interval, live
from jobrunner.cli.options import AsJson, Where
from jobrunner.cli.output import document, drawn, plain, table
from jobrunner.cli.verdicts import VERDICTS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jobrunner.client.desk import Desk

SHOWN = 10  # tasks of each list
LOOKED_AT = 100  # failed tasks, of which those that ended last are shown

_NODES = ("name", "state", "running", "slots", "completed", "failed", "cpu_percent", "memory_percent", "heartbeat_at")
_QUEUES = ("name", "paused", "pending", "running", "max_pending", "max_running")
_RUNNING = ("task_id", "task_type", "queue", "progress", "message", "started_at")
_FAILED = ("task_id", "task_type", "queue", "attempt", "completed_at", "error")
_SECTIONS = (("nodes", _NODES), ("queues", _QUEUES), ("running", _RUNNING), ("failed", _FAILED))


def top(
    once: Annotated[bool, typer.Option("--once", help="One frame, then end; so it is where no terminal is.")] = False,
    interval: Interval = 2.0,
    as_json: AsJson = False,
    where: Where = Where(),
) -> None:
    """Show nodes, queues, what runs and what failed last, until Ctrl-C."""
    opener = where.opener()
    if as_json:
        document(_look(opener))
    elif once or not sys.stdout.isatty():
        _print(_look(opener))
    else:
        live(lambda: _frame(_look(opener)), interval)


def _look(opener: Callable[[], Desk]) -> dict[str, Any]:
    """Everything that a frame shows; the desk is closed at once, since an open one may keep others out."""
    with opener() as asked:
        told = asked.overview()
        nodes = [node for node in asked.nodes()["nodes"] if node["alive"]]
        queues = asked.queues()["queues"]
        running = asked.tasks(statuses=["running"], limit=SHOWN)["tasks"]
        failed = asked.tasks(statuses=["failed"], limit=LOOKED_AT)["tasks"]
    failed.sort(key=lambda task: task["completed_at"] or "", reverse=True)
    return {**told, "nodes": nodes, "queues": queues, "running": running, "failed": failed[:SHOWN]}


def _head(told: dict[str, Any]) -> str:
    counts = "  ".join(f"{status} {count}" for status, count in told["counts"].items())
    slots = sum(node["slots"] for node in told["nodes"])
    busy = sum(node["running"] for node in told["nodes"])
    wait = f"longest wait {told['waiting_seconds']:.0f} s"
    return f"{VERDICTS.get(told['verdict'], told['verdict'])}\n{counts}  slots {busy}/{slots}  {wait}"


def _print(told: dict[str, Any]) -> None:
    plain(_head(told))
    for name, columns in _SECTIONS:
        if told[name]:
            plain(f"\n{name}")
            table(columns, _rows(told[name], columns))


def _rows(found: list[dict[str, Any]], columns: tuple[str, ...]) -> list[list[Any]]:
    return [[one[column] for column in columns] for one in found]


def _frame(told: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(_head(told), "green" if told["verdict"] == "ok" else "yellow")]
    for name, columns in _SECTIONS:
        if told[name]:
            parts += [Text(f"\n{name}", "bold cyan"), drawn(columns, _rows(told[name], columns))]
    return Group(*parts)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(rich_help_panel="Fleet and schedules", epilog="Example: jobrunner top --interval 1")(bundled(top))
