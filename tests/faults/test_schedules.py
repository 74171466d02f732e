"""Schedules fired by several processes that die, pause and wake: each due instant yields one task, or is skipped."""

from __future__ import annotations

import itertools
import random
import signal
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from jobrunner.background import schedules
from jobrunner.db.tables import firings, tasks
from tests.faults.fleet import READY, Fleet, wait_for
from tests.processes import Process

POINTS = ("firing-before-commit", "firing-after-commit")


def _every_second(fleet: Fleet, name: str = "tick") -> None:
    with fleet.database.begin() as conn:
        schedules.save(
            conn,
            name,
            every=1.0,
            task_type="fault.work",
            payload={"ledger": str(fleet.ledger)},
            allow_unknown=True,
        )


def _fired(fleet: Fleet, *, manual: bool = False) -> list[Any]:
    with fleet.database.read() as conn:
        found = select(firings).where(firings.c.manual.is_(manual)).order_by(firings.c.fire_at)
        return list(conn.execute(found))


def _prove(fleet: Fleet) -> tuple[int, int]:
    """Every instant from the first to the last was fired once or counted as skipped; returns both numbers."""
    found = _fired(fleet)
    for earlier, later in itertools.pairwise(found):
        assert later.fire_at - earlier.fire_at == timedelta(seconds=1 + later.skipped), (earlier, later)
    with fleet.database.read() as conn:
        made = list(conn.execute(select(tasks.c.task_id).order_by(tasks.c.task_id)).scalars())
    assert sorted(row.task_id for row in found) == made, "one task for each firing, and no other"
    assert len(set(made)) == len(made)
    fleet.accepted = made
    return len(found), sum(row.skipped for row in found[1:])


@pytest.mark.parametrize("seconds", [pytest.param(20, marks=pytest.mark.ci), pytest.param(60, marks=pytest.mark.long)])
def test_whoever_dies_each_instant_yields_one_task(fleet: Fleet, seconds: int) -> None:
    chance = random.Random(7)
    _every_second(fleet)
    workers = [_dying(fleet, chance) for _ in range(3)]
    started = time.monotonic()
    killed = 0
    while time.monotonic() - started < seconds or killed < 2 or len(_fired(fleet)) < seconds / 3:
        assert time.monotonic() - started < seconds + 30, "nobody fires, or dies while firing"
        for place, worker in enumerate(workers):
            if worker.exit_code is not None:
                assert worker.exit_code == -9, worker.tail()
                killed += 1
                workers[place] = _dying(fleet, chance)
        time.sleep(0.1)
    with fleet.database.begin() as conn:
        schedules.pause(conn, "tick")
    for worker in workers:
        worker.kill()
    last = fleet.worker("--until-empty")
    assert last.wait(20) == 0
    fired, skipped = _prove(fleet)
    assert skipped <= 3 * killed, "an instant is skipped where all are gone, and not for nothing"
    fleet.prove(f"a schedule every second, {killed} firing workers killed", fired=fired, skipped=skipped)


def _dying(fleet: Fleet, chance: random.Random) -> Process:
    point = f"{chance.choice(POINTS)}:kill:{chance.randint(1, 2)}"
    return fleet.worker(failpoint=point, max_workers="1")


@pytest.mark.ci
def test_what_a_pause_of_all_missed_collapses_into_one(fleet: Fleet) -> None:
    _every_second(fleet)
    workers = [fleet.worker(max_workers="1") for _ in range(2)]
    wait_for(lambda: len(_fired(fleet)) >= 1, "it fires", 20)
    for worker in workers:
        worker.wait_for_line(READY)
    for worker in workers:
        worker.signal(signal.SIGSTOP)
    before = len(_fired(fleet))
    time.sleep(3.5)
    for worker in workers:
        worker.signal(signal.SIGCONT)
    wait_for(lambda: len(_fired(fleet)) >= before + 2, "it fires again", 10)
    with fleet.database.begin() as conn:
        schedules.pause(conn, "tick")
        task_id = schedules.run_now(conn, "tick")
    fleet.wait_for_status(task_id, "completed")
    for worker in workers:
        assert worker.stop() == 0
    [manual] = _fired(fleet, manual=True)
    assert manual.task_id == task_id
    since = _fired(fleet)[before:]
    assert 2 <= since[0].skipped <= 4, "one firing stands for the whole pause"
    assert [row.skipped for row in since[1:]] == [0] * len(since[1:])
    print(f"FIGURE pause of 3.5 s: one firing, {since[0].skipped} skipped")
