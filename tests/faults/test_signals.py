"""Signals: to a thread that is not the first, and while twenty tasks run: one, two, and a storm of them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from jobrunner.db.tables import tasks
from tests.faults.fleet import Fleet

GRACE = 3.0
BESIDES = 2.0  # seconds after the grace within which a process has to be gone
EACH = 5  # of each of four kinds


def _once(worker: Any) -> None:
    worker.signal(signal.SIGTERM)


def _twice(worker: Any) -> None:
    worker.signal(signal.SIGTERM)
    worker.wait_for_line(r'"event": "draining"')
    worker.signal(signal.SIGTERM)


def _storm(worker: Any) -> None:
    """As from a terminal: whoever holds Ctrl-C down reaches everything that runs in front."""
    until = time.monotonic() + 20
    while worker.exit_code is None and time.monotonic() < until:
        os.killpg(worker.pid, signal.SIGINT)
        time.sleep(0.01)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(_once, marks=pytest.mark.long, id="SIGTERM"),
        pytest.param(_twice, marks=pytest.mark.long, id="SIGTERM twice"),
        pytest.param(_storm, marks=pytest.mark.long, id="a storm of SIGINT"),
    ],
)
@pytest.mark.timeout(120)
def test_twenty_that_run_end_or_go_back_uncharged(fleet: Fleet, sent: Any) -> None:
    fleet.make_ledger_table()
    worker = fleet.ready("--node-name", "n", max_workers=str(2 * EACH), max_async=str(2 * EACH), grace=str(GRACE))
    once: dict[str, Any] = {"max_attempts": 1}
    long = [*fleet.submit("fault.async", EACH, options=once, seconds=60.0)]
    long += fleet.submit("fault.work", EACH, options=once, seconds=60.0)
    fleet.wait_for_lines("begin", 2 * EACH, 60)
    short = [*fleet.submit("fault.async", EACH, options=once, seconds=1.5, effect="fault.row")]
    short += fleet.submit("fault.inline", EACH, options=once, seconds=1.5)
    fleet.wait_for_lines("begin", 4 * EACH, 60)
    waiting = fleet.submit("fault.work", EACH)
    start = time.monotonic()
    sent(worker)
    assert worker.wait(30) == 0
    took = time.monotonic() - start
    with fleet.database.read() as conn:
        rows = {row.task_id: row for row in conn.execute(select(tasks))}
    charged = [row for row in rows.values() if row.failures or row.crashes or row.losses]
    assert charged == []
    assert [rows[one].status for one in long] == ["pending"] * len(long)
    assert [(rows[one].status, rows[one].attempt) for one in waiting] == [("pending", 0)] * len(waiting)
    ended = [rows[one].status for one in short]
    assert set(ended) <= {"completed", "pending"}
    if sent is _once:
        assert ended == ["completed"] * len(short), "there was time for them"
    assert all(row.releases == (row.attempt if row.status == "pending" else 0) for row in rows.values())
    assert "Traceback" not in worker.errors
    assert fleet.node("n").state == "stopped"
    print(
        f"FIGURE 20 running, {sent.__name__.strip('_')}: exit 0 after {took:.2f} s with a grace of {GRACE:g} s, "
        f"{ended.count('completed')} finished, {len(long) + ended.count('pending')} given back, 0 charged"
    )
    assert took < GRACE + BESIDES
    for task_id in [*long, *waiting]:
        fleet.cancel(task_id)
    assert fleet.worker("--until-empty").wait(60) == 0
    fleet.prove("and the rest afterwards", effects=True)


def test_a_signal_that_another_thread_catches_is_heard(fleet: Fleet) -> None:
    """The kernel may choose any thread, and Python's handlers run in the first one alone, when it next runs at all."""
    worker = fleet.ready()
    others = [thread.id for thread in psutil.Process(worker.pid).threads() if thread.id != worker.pid]
    assert ctypes.CDLL(None).tgkill(worker.pid, others[-1], signal.SIGTERM) == 0
    assert worker.wait(10) == 0
