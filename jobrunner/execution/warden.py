"""Waits for its worker's end, and then ends what the worker can no longer end.

A killed worker takes its children with it (Linux), but not what they started. This program of a few megabytes does:
it holds a pipe to the worker, which the kernel closes however the worker ends: what a handler forked has no copy.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from jobrunner.execution.sweep import sweep
from jobrunner.forks import keep_from_forks


def start(mark: str) -> subprocess.Popen[bytes]:
    """Start the warden of all marks that begin so. It goes when its ``stdin`` is closed."""
    process = subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-m", "jobrunner.execution.warden", mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    keep_from_forks(process.stdin)
    return process


def main() -> None:
    """Wait, sweep, and go."""
    for number in (signal.SIGTERM, signal.SIGINT):  # the worker drains first, and needs us until its end
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    sweep(sys.argv[1])


if __name__ == "__main__":
    main()
