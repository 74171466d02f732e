"""Whatever holds a process, it ends in time after it was told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.faults.fleet import Fleet


@pytest.mark.ci
def test_signals_that_keep_coming_put_nothing_off(fleet: Fleet) -> None:
    """A handler holds the loop, and somebody sends SIGTERM more often than the main thread looks at the time."""
    worker = fleet.ready(grace="1")
    fleet.submit("fault.deaf_async")
    fleet.wait_for_lines("begin", 1)
    begun = time.monotonic()
    while worker.exit_code is None and time.monotonic() - begun < 20:
        worker.signal(signal.SIGTERM)
        time.sleep(0.1)
    assert worker.wait(1) == 0
    print(f"FIGURE SIGTERM each 0.1 s with a loop that is held, grace 1 s: {time.monotonic() - begun:.1f} s")


@pytest.mark.ci
def test_a_log_that_nobody_reads_holds_no_end() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(65_536))
    os.set_blocking(writing, True)
    program = "from jobrunner.runtime.run import _end_by_force; _end_by_force(3, 'somebody waits')"
    ended = subprocess.Popen([sys.executable, "-c", program], stdout=writing, stderr=writing)
    assert ended.wait(20) == 3
    os.close(reading)
    os.close(writing)
