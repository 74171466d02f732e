"""Very many at once: a crowd that is due in one second keeps no other queue waiting, and no worker grows."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import psutil
import pytest
from sqlalchemy import func, select

from jobrunner.db.tables import tasks
from tests.faults.fleet import Fleet
from tests.processes import Process

AT_ONCE = 5_000  # tasks in one transaction
ENTERED = 1_500  # tasks a second that are stored at least, on a busy machine
GROWTH = 60  # megabytes
LATE = 1.0  # seconds from its time to the start of a task in another queue, of 99 in a hundred


class Watch(threading.Thread):
    """The most memory that any of these took, in megabytes."""

    def __init__(self, workers: list[Process]) -> None:
        super().__init__(name="watch")
        self._workers = [psutil.Process(worker.pid) for worker in workers]
        self.enough = threading.Event()
        self.first = self.most = max(self._now())

    def _now(self) -> list[float]:
        return [worker.memory_info().rss / 2**20 for worker in self._workers]

    def run(self) -> None:
        while not self.enough.wait(0.2):
            self.most = max(self.most, *self._now())


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(5_000, marks=pytest.mark.long),
        pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_a_crowd_due_in_one_second(fleet: Fleet, count: int) -> None:
    fleet.keeps = False  # two rows of a journal for each task would be half of the work
    workers = [fleet.ready("--node-name", f"n{number}", max_async="100") for number in range(2)]
    # One worker serves both queues in their order, another the small one alone: priorities are strict, queues are not.
    workers.append(fleet.ready("--queues", "small"))
    began = time.monotonic()
    due = fleet.now() + timedelta(seconds=2 + count / ENTERED)
    for _ in range(count // AT_ONCE):
        fleet.submit("fault.nothing", AT_ONCE, options={"run_at": due, "queue": "crowd"})
    entered = time.monotonic() - began
    assert fleet.now() < due, "some were due before others were there: the test means nothing"
    watch = Watch(workers)
    watch.start()
    small: list[str] = []
    while _open(fleet, "crowd"):
        small += fleet.submit("fault.nothing", 1, options={"queue": "small"})
        time.sleep(0.05)
    drained = (fleet.now() - due).total_seconds()
    fleet.wait_until_ended()
    watch.enough.set()
    watch.join()
    with fleet.database.read() as conn:
        rows = conn.execute(select(tasks.c.started_at, tasks.c.created_at).where(tasks.c.queue == "small")).all()
        runs = conn.execute(select(func.sum(tasks.c.attempt))).scalar_one()
    late = sorted((row.started_at - row.created_at).total_seconds() for row in rows)
    p99 = late[int(len(late) * 0.99)]
    fleet.prove(
        f"{count} due in one second",
        entered_in=entered,
        drained_in=drained,
        others_p99_ms=p99 * 1_000,
        others=len(late),
        memory_mb=watch.most,
        grew_by_mb=watch.most - watch.first,
    )
    assert runs == len(fleet.accepted)
    assert p99 < LATE
    assert watch.most - watch.first < GROWTH
    assert [worker.stop() for worker in workers] == [0] * len(workers)


def _open(fleet: Fleet, queue: str) -> bool:
    with fleet.database.read() as conn:
        open_ones = select(tasks.c.id).where(tasks.c.queue == queue, tasks.c.status.in_(["pending", "running"]))
        return conn.execute(open_ones.limit(1)).first() is not None
