"""What a queue should be, in Python: every task by its counters, who holds it, and whether it is due.

It is written from the design's words and the table of moves, and asks the code under test for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jobrunner.queue.task import MOVES, Ending, Status

CRASHES, LOSSES = 3, 10  # the third attempt whose child died fails the task; the tenth whose node died

BAD = {
    Ending.ERROR: "failures",
    Ending.TIMEOUT: "failures",
    Ending.REFUSED: "failures",
    Ending.CRASHED: "crashes",
    Ending.OUT_OF_MEMORY: "crashes",
    Ending.RETRY_LATER: "snoozes",
    Ending.RELEASED: "releases",
    Ending.LOST: "losses",
}
"""What each ending adds to."""


@dataclass
class Modelled:
    """One task. ``due_since`` orders tasks of one priority; None where its time has not come."""

    task_id: str
    order: int
    queue: str
    priority: int
    max_attempts: int
    unique_key: str | None
    due_since: int | None
    status: Status = Status.PENDING
    generation: int = 0
    attempt: int = 0
    counters: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("failures", "crashes", "losses", "releases", "snoozes"), 0)
    )
    token: str | None = None
    stale: bool = False
    cancel_asked: bool = False
    left: list[tuple[int, Ending]] = field(default_factory=list)  # attempts that ended badly

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.status in (Status.PENDING, Status.RUNNING)

    def move(self, name: str, to: Status) -> None:
        """Go there, if the table of moves has it so."""
        begins, leads = MOVES[name]
        assert self.status in begins, f"{name} of a task that is {self.status}"
        assert to in leads, f"{name} leads to {to}"
        self.status = to
        if to is not Status.RUNNING:
            self.token, self.stale = None, False

    def claim(self, token: str) -> None:
        """pending -> running."""
        self.move("claim", Status.RUNNING)
        self.attempt += 1
        self.token = token

    def end(self, ending: Ending, *, now: int, later: bool) -> None:
        """running -> wherever this ending leads; ``later``: what may run again may not at once."""
        attempt = self.attempt
        if ending is not Ending.COMPLETED:
            self.left.append((attempt, ending))
        if self.cancel_asked:
            self._count(ending)
            self.move("settle", Status.CANCELLED)
        elif ending is Ending.COMPLETED:
            self.move("settle", Status.COMPLETED)
        elif ending is Ending.CANCELLED:
            self.move("settle", Status.CANCELLED)
        else:
            self._count(ending)
            self.move("settle", Status.FAILED if self._spent(ending) else Status.PENDING)
            if self.open:
                self.due_since = None if later else now

    def lose(self, *, now: int) -> None:
        """Its lease went stale, and it was taken back."""
        self.left.append((self.attempt, Ending.LOST))
        self._count(Ending.LOST)
        if self.cancel_asked:
            self.move("reclaim", Status.CANCELLED)
        elif self.counters["losses"] >= LOSSES:
            self.move("reclaim", Status.FAILED)
        else:
            self.move("reclaim", Status.PENDING)
            self.due_since = now

    def release(self, *, now: int, later: bool) -> None:
        """Given back unharmed."""
        self.left.append((self.attempt, Ending.RELEASED))
        self._count(Ending.RELEASED)
        if self.cancel_asked:
            self.move("release", Status.CANCELLED)
        else:
            self.move("release", Status.PENDING)
            self.due_since = None if later else now

    def retry(self, *, now: int) -> None:
        """A new generation, by hand."""
        self.move("retry", Status.PENDING)
        self.generation += 1
        self.counters |= dict.fromkeys(("failures", "crashes", "losses", "snoozes"), 0)
        self.cancel_asked = False
        self.due_since = now

    def _count(self, ending: Ending) -> None:
        if ending in BAD:
            self.counters[BAD[ending]] += 1

    def _spent(self, ending: Ending) -> bool:
        counted = self.counters[BAD[ending]]
        if ending is Ending.REFUSED:
            return True
        if ending in (Ending.ERROR, Ending.TIMEOUT):
            return counted >= self.max_attempts
        return ending in (Ending.CRASHED, Ending.OUT_OF_MEMORY) and counted >= CRASHES
