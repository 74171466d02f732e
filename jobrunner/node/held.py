"""What this node holds: every claimed task until its end is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jobrunner.queue.task import Ending, Lease, Task


class Runner(Protocol):
    """Who has a task and can be asked to end it: its feed, or a pool."""

    def stop(self, task_row_id: int, ending: Ending, /) -> bool:
        """Ask it to end; False where it is not there."""


@dataclass(slots=True)
class Holding:
    """One claimed task, who has it, and when its attempt began (by the monotonic clock; None while it waits).

    ``lost`` where a renewal found another owner.
    ``next`` is the same task claimed again while the end of this attempt is on its way into the database and back.
    """

    task: Task
    pool: Runner
    began: float | None = None
    over: bool = False
    lost: bool = False
    next: Task | None = None


class Held:
    """The node's holdings, by row id. Safe in threads: the heartbeat renews what the worker holds.

    Without a lock: each dict is changed in single steps, which no other thread sees half done. Only the worker's loop
    adds and drops; whoever claims says what arrives.
    """

    def __init__(self) -> None:
        self._rows: dict[int, Holding] = {}
        self._arriving: dict[Lease, Task] = {}  # claimed by another thread, and on the way to the loop

    def arrive(self, claimed: Sequence[Task]) -> None:
        """Hold what was just claimed until the loop takes it: a handler may hold the loop for longer than a lease."""
        for task in claimed:
            self._arriving[task.lease] = task

    def arrived(self, claimed: Sequence[Task]) -> None:
        """The loop has taken these."""
        for task in claimed:
            self._arriving.pop(task.lease, None)

    def add(self, holding: Holding) -> bool:
        """Hold a task; False when an earlier attempt of it is still being ended here."""
        return self._rows.setdefault(holding.task.lease.id, holding) is holding

    def line_up(self, task: Task) -> bool:
        """Keep a task back until the end of its earlier attempt is recorded; False where that attempt still runs."""
        earlier = self._rows[task.lease.id]
        if earlier.over:
            earlier.next = task
        return earlier.over

    def drop(self, lease: Lease) -> Task | None:
        """Hold it no more; returns the task that lined up behind it."""
        held = self._rows.get(lease.id)
        if held is None or held.task.lease != lease:
            return None
        del self._rows[lease.id]
        return held.next

    def get(self, row_id: int) -> Holding | None:
        """What is held under this row id."""
        return self._rows.get(row_id)

    def leases(self) -> list[Lease]:
        """Every lease to renew."""
        return [task.lease for task in self.tasks()]

    def tasks(self) -> list[Task]:
        """Every task that was claimed and is not settled, also those that line up or are on their way."""
        found = [task for one in self.all() for task in (one.task, one.next) if task is not None]
        return list(self._arriving.values()) + found

    def all(self) -> list[Holding]:
        """Every holding."""
        return list(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)
