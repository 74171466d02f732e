"""Which tasks: the filter that listing and work on many tasks share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from jobrunner.cli import complete, values
from jobrunner.queue.task import Status


class Statuses(StrEnum):
    """The statuses, for typer."""

    PENDING = Status.PENDING
    RUNNING = Status.RUNNING
    COMPLETED = Status.COMPLETED
    FAILED = Status.FAILED
    CANCELLED = Status.CANCELLED


@dataclass(frozen=True)
class Filter:
    """Tasks that fit all that is given."""

    statuses: Annotated[
        list[Statuses] | None, typer.Option("--status", help="Only these; may be given several times.")
    ] = None
    task_type: Annotated[
        str | None, typer.Option("--type", help="Only this task type.", autocompletion=complete.type_names)
    ] = None
    of_queue: Annotated[
        str | None, typer.Option("--queue", help="Only this queue.", autocompletion=complete.queue_names)
    ] = None
    tag: Annotated[str | None, typer.Option("--tag", help="Only with this tag.")] = None
    node: Annotated[
        str | None,
        typer.Option("--node", help="Only those that this node ran last: its id.", autocompletion=complete.node_ids),
    ] = None
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            parser=values.since,
            metavar="TIME",
            help="Created since then: an ISO 8601 time, or 2h for two hours ago.",
        ),
    ] = None
    until: Annotated[
        datetime | None,
        typer.Option("--until", parser=values.since, metavar="TIME", help="Created before then, in the same way."),
    ] = None
    prefix: Annotated[str | None, typer.Option("--q", metavar="TEXT", help="Only if the task_id begins so.")] = None

    def __post_init__(self) -> None:
        """Refuse an empty text: a variable of the shell that is not set must not mean all there are."""
        texts = {"type": self.task_type, "queue": self.of_queue, "tag": self.tag, "node": self.node, "q": self.prefix}
        for option, text in texts.items():
            if text == "":
                raise typer.BadParameter("it is empty; leave the option out to mean all", param_hint=f"--{option}")

    @property
    def wanted(self) -> dict[str, Any]:
        """What is asked for, as a desk takes it."""
        told = {
            "statuses": [str(one) for one in self.statuses] if self.statuses else None,
            "task_type": self.task_type,
            "queue": self.of_queue,
            "tag": self.tag,
            "node": self.node,
            "created_after": self.since,
            "created_before": self.until,
            "prefix": self.prefix,
        }
        return {name: value for name, value in told.items() if value is not None}

    @property
    def says_something(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.wanted)
