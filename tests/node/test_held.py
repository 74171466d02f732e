"""What a node holds: never two attempts of one task, and a late drop drops nobody else's."""

from __future__ import annotations

from jobrunner.execution.inline import AsyncPool
from jobrunner.node.held import Held, Holding
from jobrunner.queue.task import Lease, Task


def _task(row: int, token: str, attempt: int = 1) -> Task:
    return Task(Lease(row, token, attempt), f"t{row}", "work", "{}", "default", 5, 0, None, 3, 0, 0, 0)


POOL = AsyncPool(1)


def test_one_attempt_of_a_task_at_a_time() -> None:
    held = Held()
    first = Holding(_task(1, "a"), POOL)
    assert held.add(first)
    assert not held.add(Holding(_task(1, "b", 2), POOL))
    assert held.get(1) is first
    assert held.add(Holding(_task(2, "c"), POOL))
    assert [lease.token for lease in held.leases()] == ["a", "c"]
    assert len(held) == len(held.all()) == 2


def test_a_late_drop_drops_nobody_elses() -> None:
    held = Held()
    earlier, later = _task(1, "a"), _task(1, "b", 2)
    held.add(Holding(earlier, POOL))
    held.drop(later.lease)
    assert len(held) == 1
    held.drop(earlier.lease)
    held.drop(earlier.lease)
    assert held.get(1) is None
    assert held.add(Holding(later, POOL))
    held.drop(earlier.lease)
    assert held.leases() == [later.lease]


def test_who_lines_up_is_told_when_the_end_before_it_is_recorded() -> None:
    held = Held()
    earlier, later = _task(1, "a"), _task(1, "b", 2)
    held.add(Holding(earlier, POOL))
    assert not held.line_up(later), "it still runs"
    holding = held.get(1)
    assert holding is not None
    holding.over = True
    assert held.line_up(later)
    assert held.drop(later.lease) is None
    assert held.drop(earlier.lease) == later
    assert held.drop(earlier.lease) is None
