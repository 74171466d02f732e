"""How a list is printed: as a table, one JSON document, a document a line, or the names alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from jobrunner.cli.options import AsJson
from jobrunner.cli.output import document, line, plain, table


def alone(ctx: typer.Context, *given: Any) -> bool:
    """Whether a group was called without one of its commands.

    Options in front of a command would be lost, and another server asked than was meant: they are refused.
    """
    if ctx.invoked_subcommand is None:
        return True
    if any(one != type(one)() for one in given):
        raise typer.BadParameter(f"options stand behind the command: {ctx.command_path} {ctx.invoked_subcommand} ...")
    return False


@dataclass(frozen=True)
class Form:
    """The form that was asked for; a table where none was."""

    as_json: AsJson = False
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON document per line, as they come.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the ids alone, one per line.")] = False

    @property
    def streams(self) -> bool:
        """Whether one is printed after the other, without an end to wait for."""
        self.check()
        return self.as_jsonl or self.quiet

    def check(self) -> None:
        """Refuse two forms at once."""
        if self.as_json + self.as_jsonl + self.quiet > 1:
            raise typer.BadParameter("give one of --json, --jsonl and --quiet")

    def one(self, told: Mapping[str, Any], name: str) -> None:
        """Print one of a list that comes bit by bit; only where it ``streams``."""
        plain(str(told[name])) if self.quiet else line(told)

    def all(
        self, told: Mapping[str, Any], key: str, name: str, headers: Sequence[str], *, unseen: Sequence[str] = ()
    ) -> None:
        """Print the list under ``key`` of an answer; ``name`` is what identifies each."""
        if self.streams:
            for one in told[key]:
                self.one(one, name)
        elif self.as_json:
            document(told)
        else:
            table(headers, ([one[header] for header in headers] for one in told[key]), unseen=unseen)
