"""Memory: one task is ended for it at a time, and none for what is free again."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import pytest

from jobrunner.execution.inline import AsyncPool
from jobrunner.node.host import Host
from jobrunner.node.state import State
from jobrunner.node.watch import Watch
from jobrunner.queue.task import Ending

MODEST = 7


class _Holding:
    """A feed with a pool in which a modest task runs, while a greedy one that was ended before may die meanwhile."""

    def __init__(self, host: _Measured, dies: bool) -> None:
        self.pool: Any = self
        self.stopped: list[tuple[int, Ending]] = []
        self._host, self._dies = host, dies

    async def greediest(self) -> int:
        if self._dies:
            self._host.used_mb = 150
        return MODEST

    def stop(self, row_id: int, ending: Ending) -> None:
        self.stopped.append((row_id, ending))


class _Measured(Host):
    used_mb = 700

    def rss(self) -> int:
        return self.used_mb << 20


@pytest.mark.parametrize("dies", [True, False], ids=["it died meanwhile", "nothing died"])
def test_memory_is_measured_again_before_anybody_is_ended_for_it(dies: bool) -> None:
    host, state = _Measured(tempfile.gettempdir()), State()
    feed: Any = _Holding(host, dies)
    asyncio.run(Watch([feed], state, host, max_memory_mb=500)._look_at_memory())
    assert feed.stopped == ([] if dies else [(MODEST, Ending.OUT_OF_MEMORY)])
    assert state.figures.rss >> 20 == (150 if dies else 700)


def test_without_a_pool_that_knows_nobody_is_ended() -> None:
    host = _Measured(tempfile.gettempdir())

    class Feed:
        pool = AsyncPool(1)

    feed: Any = Feed()
    asyncio.run(Watch([feed], State(), host, max_memory_mb=500)._look_at_memory())
