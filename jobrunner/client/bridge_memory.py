"""What a bridge remembers under the ids of tasks: of those that are called for now, and of the last ten thousand."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

REMEMBERED = 10_000  # ids beside those that somebody waits for

T = TypeVar("T")


class Memory(Generic[T]):
    """Safe in threads; ``lock`` may be held over several calls."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._known: dict[str, T] = {}  # the one that was called for last stands last
        self._calls: Counter[str] = Counter()

    @contextmanager
    def calling(self, task_id: str) -> Iterator[None]:
        """Forget nothing of this id meanwhile."""
        with self.lock:
            self._calls[task_id] += 1
        try:
            yield
        finally:
            with self.lock:
                self._calls[task_id] -= 1
                if not self._calls[task_id]:
                    del self._calls[task_id]
                self._renew(task_id)
                self._forget_oldest()

    def calls(self, task_id: str) -> int:
        """How many call for it now."""
        return self._calls[task_id]

    def __contains__(self, task_id: str) -> bool:
        with self.lock:
            return task_id in self._known

    def get(self, task_id: str) -> T | None:
        """What is known of it."""
        with self.lock:
            return self._known.get(task_id)

    def put(self, task_id: str, known: T) -> None:
        """Remember this."""
        with self.lock:
            self._known[task_id] = known

    def drop(self, task_id: str) -> None:
        """Forget it now."""
        with self.lock:
            self._known.pop(task_id, None)

    def _renew(self, task_id: str) -> None:
        if task_id in self._known:
            self._known[task_id] = self._known.pop(task_id)

    def _forget_oldest(self) -> None:
        for _ in range(min(2, len(self._known) - REMEMBERED)):  # a call adds one: two in time make up for any backlog
            oldest = next(iter(self._known))
            if oldest in self._calls:
                self._renew(oldest)
            else:
                del self._known[oldest]
