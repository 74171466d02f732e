"""What this node holds: every claimed task until its end is recorded."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobrunner.queue.task import Lease, Task

if TYPE_CHECKING:
    from jobrunner.execution.pool import Pool


@dataclass(frozen=True, slots=True)
class Holding:
    """One claimed task and the pool that runs it."""

    task: Task
    pool: Pool


class Held:
    """The node's holdings, by row id. Safe in threads: the heartbeat renews what the worker holds."""

    def __init__(self) -> None:
        self._rows: dict[int, Holding] = {}
        self._changed = threading.Lock()

    def add(self, holding: Holding) -> bool:
        """Hold a task; False when an earlier attempt of it is still being ended here."""
        with self._changed:
            return self._rows.setdefault(holding.task.lease.id, holding) is holding

    def drop(self, lease: Lease) -> None:
        """Hold it no more."""
        with self._changed:
            held = self._rows.get(lease.id)
            if held is not None and held.task.lease == lease:
                del self._rows[lease.id]

    def get(self, row_id: int) -> Holding | None:
        """What is held under this row id."""
        with self._changed:
            return self._rows.get(row_id)

    def leases(self) -> list[Lease]:
        """Every lease to renew."""
        with self._changed:
            return [holding.task.lease for holding in self._rows.values()]

    def all(self) -> list[Holding]:
        """Every holding."""
        with self._changed:
            return list(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)
