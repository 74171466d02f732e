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
    """What :func:`jobrunner.testing.survive` returns: the undisturbed run, and every step at which it was killed."""

    task_type: str
    status: Status
    result: Any
    calls: tuple[Call, ...]
    steps: tuple[Step, ...]

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
        for step in self.unclean:
            lines.append(f'  step {step.number}, killed at "{step.name}":')
            lines += [f"    {difference}" for difference in step.differences]
        missed = [step.number for step in self.steps if not step.reached]
        if missed:
            lines.append(f"  not reached, as the task does not do the same each time: steps {missed}")
        return "\n".join(lines)
