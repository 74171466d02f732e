"""Whether what happened was allowed to: one pure function over a history, which names each broken promise.

The numbers are those of the invariants that the documentation promises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.faults import check_ends, check_moves
from tests.faults.history import History
from tests.faults.violation import Violation

JUDGES = (*check_ends.JUDGES, *check_moves.JUDGES)


def check(history: History, judges: Sequence[Callable[[History], Iterator[Violation]]] = JUDGES) -> list[Violation]:
    """Every promise that was broken, in the order of their numbers."""
    found = [one for judge in judges for one in judge(history)]
    return sorted(found, key=lambda one: (int(one.invariant[1:]), one.task_id))
