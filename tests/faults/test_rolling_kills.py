"""One of three workers killed every five seconds, and replaced: what they get done before, meanwhile and afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from tests.faults.fleet import LEASE, READY, Fleet
from tests.processes import Process

WORKERS = 3
SLOTS = 8
SECONDS = 0.4  # of one task: the slots are the limit, 60 tasks a second, and not two busy cores
PART = 500  # tasks that are put there at once: on a busy machine 20,000 took longer than a transaction may
EVERY = 5.0  # seconds between two kills
PHASE = 20.0  # seconds before and after
CALM = 2 * LEASE + 2  # seconds until what the last one held has been taken back


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", [25, 300])
def test_what_was_got_done_before_is_got_done_afterwards(fleet: Fleet, seconds: int) -> None:
    """The backlog never runs dry, so that what is lost on the way is seen."""
    rate = WORKERS * SLOTS / SECONDS
    for _ in range(int(rate * (seconds + 2 * PHASE + CALM + 15) / PART) + 1):
        fleet.submit("fault.async", PART, seconds=SECONDS)
    workers = [_start(fleet) for _ in range(WORKERS)]
    for worker in workers:
        worker.wait_for_line(READY)
    time.sleep(2)
    begun = time.time()
    time.sleep(PHASE)
    first = time.time()
    kills = 0
    while time.time() < first + seconds:
        workers[kills % WORKERS].kill()
        workers[kills % WORKERS] = _start(fleet)
        kills += 1
        time.sleep(max(0.0, first + kills * EVERY - time.time()))
    time.sleep(CALM)
    calm = time.time()
    time.sleep(PHASE)
    over = time.time()
    assert fleet.open_tasks() > 0, "they ran out of work: the test means nothing"
    ends = [line.at for line in fleet.lines("end")]
    before, meanwhile, after = _rate(ends, begun, first), _rate(ends, first, first + seconds), _rate(ends, calm, over)
    fleet.wait_until_ended(240)
    found = fleet.prove(
        f"{kills} kills in {seconds} s", before=before, meanwhile=meanwhile, after=after, after_of_before=after / before
    )
    assert {row.status for row in found.rows} == {"completed"}
    assert found.lost >= kills, "each had something in hand"
    assert after >= 0.95 * before
    assert [worker.stop() for worker in workers] == [0] * WORKERS


def _start(fleet: Fleet) -> Process:
    return fleet.worker(max_async=str(SLOTS))


def _rate(ends: Sequence[float], begin: float, end: float) -> float:
    return sum(begin <= at < end for at in ends) / (end - begin)
