"""The deadlines of all attempts of a pool, under one timer: one each costs as much as the rest of a quick task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol


class Limited(Protocol):
    """What has a deadline, by the loop's clock; ``inf`` for none."""

    deadline: float

    def expire(self) -> None:
        """The deadline has passed. Moves it, or does away with it."""


class Deadlines:
    """Calls ``expire`` of all that is overdue; ``find`` tells what there is. Belongs to the running loop."""

    def __init__(self, find: Callable[[], Iterable[Limited]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._find = find
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, moment: float) -> None:
        """Look at the latest at this moment of the loop's clock."""
        if self._timer is None:
            self._timer = self._loop.call_at(moment, self._ring)
        elif moment < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(moment, self._ring)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        for limited in tuple(self._find()):
            if limited.deadline <= now:
                limited.expire()
        following = min((limited.deadline for limited in self._find()), default=float("inf"))
        if following < float("inf"):
            self.watch(following)
