"""What is going on, for people: on standard error, a line that is drawn anew on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Told:
    """Tells steps. ``quiet`` leaves only warnings."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:g}/{task.total:g}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._begun = time.monotonic()
        self._line: TaskID | None = None

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"{time.monotonic() - self._begun:6.1f} s  {text}", markup=False, soft_wrap=True)

    @contextmanager
    def steps(self, what: str, total: int) -> Iterator[None]:
        """A measurement of ``total`` steps."""
        self.say(what)
        with self._bar:
            self._line = self._bar.add_task(what, total=total)
            try:
                yield
            finally:
                self._bar.remove_task(self._line)
                self._line = None

    def step(self, text: str) -> None:
        """One of the steps is done; ``text`` says which comes or what it gave."""
        if not self._console.is_terminal:
            self.say(f"  {text}")
        elif self._line is not None:
            self._bar.update(self._line, advance=1, description=text)
