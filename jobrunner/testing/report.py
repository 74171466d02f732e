"""What a rehearsal came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobrunner.queue.task import Status
from jobrunner.testing.calls import Call


@dataclass(frozen=True, slots=True)
class Step:
    """One step at which the process was killed.

    ``differences`` says how what was left in the end differs from what an undisturbed run leaves. ``reached`` is False
    where the run was over before it came to a step of this number: the handler does not do the same each time.
    """

    number: int
    name: str
    differences: tuple[str, ...]
    reached: bool = True

    @property
    def clean(self) -> bool:
        """Whether it is as if the task had run once."""
        return not self.differences


@dataclass(frozen=True)
class Report:
    """What :func:`jobrunner.testing.survive` returns: the undisturbed run, and every step at which it was killed.

    ``attempts`` is how many the undisturbed run took by itself.
    """

    task_type: str
    status: Status
    result: Any
    calls: tuple[Call, ...]
    steps: tuple[Step, ...]
    attempts: int = 1

    @property
    def clean(self) -> bool:
        """Whether every step was reached, and is as if the task had run once."""
        return not self.unclean and all(step.reached for step in self.steps)

    @property
    def unclean(self) -> tuple[Step, ...]:
        """The steps after which it is not."""
        return tuple(step for step in self.steps if not step.clean)

    def check(self) -> None:
        """Raise AssertionError, with every difference at every step, unless all is clean."""
        if not self.clean:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        killed = sum(step.reached for step in self.steps)
        good = sum(step.reached and step.clean for step in self.steps)
        lines = [f"{self.task_type}: killed at {killed} steps, {good} times as if it had run once"]
        if self.attempts > 1 and not self.clean:
            lines.append(
                f"  undisturbed, it took {self.attempts} attempts by itself: what each of them wrote is part of what "
                "all is measured by, duplicates of its own too"
            )
        for run in _runs(self.unclean):
            lines.append(f"  {_place(run)}:")
            lines += [f"    {difference}" for difference in run[0].differences]
        missed = [step.number for step in self.steps if not step.reached]
        if missed:
            lines.append(f"  not reached, as the task does not do the same each time: steps {missed}")
        return "\n".join(lines)


def _runs(steps: tuple[Step, ...]) -> list[list[Step]]:
    """The steps, those beside each other that differ in the same together."""
    runs: list[list[Step]] = []
    for step in steps:
        last = runs[-1][-1] if runs else None
        if last is not None and (last.number + 1, last.differences) == (step.number, step.differences):
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def _place(run: list[Step]) -> str:
    first, last = run[0], run[-1]
    if first is last:
        return f'step {first.number}, killed at "{first.name}"'
    return f'steps {first.number} to {last.number}, killed at each from "{first.name}" to "{last.name}"'
