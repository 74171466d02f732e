"""Tasks that kill whoever runs them, one in a hundred: they end after three deaths, and the good ones hardly notice."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select

from jobrunner.db.tables import tasks
from jobrunner.queue.task import CRASH_BUDGET
from tests.faults.fleet import Fleet

COUNT = 300  # good ones of each phase
ONE_IN = 100
PER_SECOND = 6.0
SECONDS = 0.2  # of each good one: a third of what four slots can do


@pytest.mark.long
@pytest.mark.timeout(300)
def test_poison_ends_and_the_good_ones_hardly_notice(fleet: Fleet) -> None:
    worker = fleet.ready(max_workers="4")
    fleet.submit("fault.work", 8, seconds=0.1)
    fleet.wait_until_ended()
    p99 = {}
    poison: list[str] = []
    for phase in ("alone", "among poison"):
        good: list[str] = []
        start = time.monotonic()
        for number in range(COUNT):
            time.sleep(max(0.0, start + number / PER_SECOND - time.monotonic()))
            good += fleet.submit("fault.work", seconds=SECONDS)
            if phase != "alone" and number % ONE_IN == ONE_IN // 2:
                poison += fleet.submit("fault.die")
        fleet.wait_until_ended(60)
        p99[phase] = _waits(fleet, good)[int(0.99 * COUNT)]
    assert [[end.outcome for end in fleet.left(task_id)] for task_id in poison] == [["crashed"] * CRASH_BUDGET] * 3
    assert {fleet.row(task_id).status for task_id in poison} == {"failed"}
    growth = p99["among poison"] / p99["alone"]
    found = fleet.prove(
        f"{len(poison)} that kill among {COUNT} good ones",
        p99_alone=p99["alone"],
        p99_among_them=p99["among poison"],
        growth=growth,
    )
    assert sum(row.status == "completed" for row in found.rows) == 2 * COUNT + 8
    assert found.lost == 0
    assert growth <= 2
    assert worker.stop() == 0


def _waits(fleet: Fleet, ids: list[str]) -> list[float]:
    """Seconds from submission to the end, the shortest first."""
    with fleet.database.read() as conn:
        found = conn.execute(select(tasks.c.created_at, tasks.c.finished_at).where(tasks.c.task_id.in_(ids))).all()
    return sorted((row.finished_at - row.created_at).total_seconds() for row in found)
