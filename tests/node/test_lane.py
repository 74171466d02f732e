"""A lane that cannot write tries again, and never without a pause."""

from __future__ import annotations

import asyncio

from jobrunner.errors import DatabaseUnavailable
from jobrunner.node.lane import Fate, Lane, Settlement


def test_a_lane_that_closes_while_only_reports_wait_and_the_database_is_away_pauses_between_tries() -> None:
    tries = 0

    def away(_batch: list[Settlement]) -> tuple[list[Fate], list[Settlement]]:
        nonlocal tries
        tries += 1
        raise DatabaseUnavailable("it is away")

    async def go() -> None:
        lane = Lane("test", away, lambda *_fate: None, more=lambda: True, tick=60.0)
        running = asyncio.create_task(lane.run())
        await asyncio.sleep(0)
        lane.close()
        await asyncio.sleep(1.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())
    assert 1 < tries < 12, "0.1 s after the first, then twice as long, and so on"
