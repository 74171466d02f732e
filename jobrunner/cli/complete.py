"""Completion of what only a running system knows: task types, queues, nodes, schedules, keys and tasks.

It must be quick, and silent whatever is wrong: who presses a key wants to go on typing.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from jobrunner.client.desk import Desk

WITHIN = 2.0  # seconds for an answer, without the imports: whoever waits longer has typed on


def type_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Task types that workers published."""
    return _found(ctx, incomplete, lambda asked: [one["name"] for one in asked.types()["types"]])


def queue_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Queues."""
    return _found(ctx, incomplete, lambda asked: [one["name"] for one in asked.queues()["queues"]])


def queue_lists(ctx: typer.Context, incomplete: str) -> list[str]:
    """Queues with commas between them: the last one is being typed."""
    before, comma, last = incomplete.rpartition(",")
    typed = before.split(",")
    return [f"{before}{comma}{name}" for name in queue_names(ctx, last) if name not in typed]


def node_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of living nodes."""
    return _found(ctx, incomplete, lambda asked: [one["name"] for one in asked.nodes()["nodes"] if one["alive"]])


def node_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of living nodes."""
    return _found(ctx, incomplete, lambda asked: [one["id"] for one in asked.nodes()["nodes"] if one["alive"]])


def gone_node_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of nodes that ended or fell silent: of one name there may be many."""
    return _found(ctx, incomplete, lambda asked: [one["id"] for one in asked.nodes()["nodes"] if not one["alive"]])


def key_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of keys."""
    return _found(ctx, incomplete, lambda asked: [one["id"] for one in asked.keys()["keys"]])


def operation_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of operations on many tasks."""
    return _found(ctx, incomplete, lambda asked: [one["id"] for one in asked.operations()["operations"]])


def schedule_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Schedules."""
    return _found(ctx, incomplete, lambda asked: [one["name"] for one in asked.schedules()["schedules"]])


def task_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The newest tasks."""
    return _found(ctx, incomplete, lambda asked: [one["task_id"] for one in asked.tasks(limit=200)["tasks"]])


def fingerprints(ctx: typer.Context, incomplete: str) -> list[str]:
    """Kinds of failures."""
    return _found(ctx, incomplete, lambda asked: [one["fingerprint"] for one in asked.errors()["errors"]])


def _found(ctx: typer.Context, incomplete: str, ask: Callable[[Desk], list[str]]) -> list[str]:
    """What ``ask`` finds and the user may mean; nothing where it takes too long, or anything goes wrong.

    It is asked in a thread that is left behind when time is up: the process ends with its answer.
    """
    told: list[str] = []
    errors, sys.stderr = sys.stderr, _Silence()
    logging.disable(logging.CRITICAL)
    try:
        opener = _opener({name: ctx.params.get(name) for name in ("url", "database_url", "config")})

        def look() -> None:
            with (
                suppress(BaseException),
                opener() as asked,
            ):  # whatever it is: it would stand in the middle of a command
                told.extend(ask(asked))

        asking = threading.Thread(target=look, daemon=True)
        asking.start()
        asking.join(WITHIN)
    except Exception:  # noqa: BLE001  settings that are refused, say: the command itself will tell
        told.clear()
    finally:
        sys.stderr = errors
        logging.disable(logging.NOTSET)
    return sorted({name for name in told if name.startswith(incomplete)})


def _opener(given: dict[str, Any]) -> Callable[[], Desk]:
    """What opens the desk that the options so far lead to, with everything imported that it needs."""
    from jobrunner.cli.options import Where

    where = Where(**given)
    import_module("jobrunner.client.remote" if where.server else "jobrunner.client.local")
    return where.opener()


class _Silence:
    """A stream for warnings that nobody would see where they belong."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is kept."""
