"""A broken promise, and what its judges share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.faults.journal import Move

TOLERANCE = 1.5  # seconds between a statement's time and the moment at which its trigger ran, on a busy machine
EARLY = 0.1  # seconds by which no trigger can run before its statement, whatever the clock's grain


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    invariant: str
    task_id: str
    told: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.task_id}: {self.told}"


def by_task(moves: Sequence[Move]) -> Mapping[str, list[Move]]:
    """Each task's moves, in the order in which they came."""
    ordered = sorted(moves, key=lambda move: move.task_id)  # a stable sort: each one's moves stay in their order
    return {task_id: list(some) for task_id, some in groupby(ordered, key=lambda move: move.task_id)}
