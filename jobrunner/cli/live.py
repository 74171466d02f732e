"""The same look at things again and again on a terminal, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from jobrunner.cli.forms import Form
from jobrunner.cli.output import drawn, talk
from jobrunner.cli.patience import passes_by
from jobrunner.errors import JobrunnerError

if TYPE_CHECKING:
    from rich.console import RenderableType

Interval = Annotated[float, typer.Option(min=0.2, max=3_600, help="Seconds between two looks.")]


@dataclass(frozen=True)
class Watch:
    """Whether a list is shown again and again."""

    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C; once where no terminal is.")
    ] = False
    interval: Interval = 2.0

    def show(
        self,
        form: Form,
        look: Callable[[], Mapping[str, Any]],
        key: str,
        headers: Sequence[str],
        *,
        unseen: Sequence[str] = (),
    ) -> None:
        """Show the list under ``key`` of what ``look`` finds, without end, where that is asked for and a terminal is.

        Returns where it is to be printed once; refuses a form for programs.
        """
        if not self.watch:
            return
        if form != Form():
            raise typer.BadParameter(
                "it draws on a terminal, without --json, --jsonl and --quiet", param_hint="--watch"
            )
        if not sys.stdout.isatty():
            talk("No terminal is there to watch it on: it is shown once.")
            return
        live(
            lambda: drawn(headers, ([one[header] for header in headers] for one in look()[key]), unseen=unseen),
            self.interval,
        )


def live(look: Callable[[], RenderableType], interval: float) -> NoReturn:
    """Draw what ``look`` finds, every ``interval`` seconds, for ever."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), screen=True, auto_refresh=False) as screen:
        while True:
            try:
                shown = look()
            except JobrunnerError as error:
                if not passes_by(error):
                    raise
                shown = Text(f"Nothing can be seen now: {error}", "red")  # it comes back, and who looks wants to see it
            moment = Text(f"{time.strftime('%H:%M:%S')}  every {interval:g} s, Ctrl-C ends it", "dim")
            screen.update(Group(moment, shown), refresh=True)
            time.sleep(interval)
