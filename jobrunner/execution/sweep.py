"""Finding and ending what children left running, however far it moved away from them."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

MARK = "JOBRUNNER_CHILD"
"""Environment variable of every child, and so of everything that it starts: a process group can be left by setsid,
and the parent of a daemon is init, but what a process was started with stays."""

_ROUNDS = 100
_PAUSE = 0.02  # seconds between two rounds


def sweep(mark: str) -> None:
    """Kill what was started under this mark, or one that begins so, until there is nothing left of it."""
    for _ in range(_ROUNDS):  # one that forks while we look is met in the next round
        if not _kill(_marked(mark)):
            return
        time.sleep(_PAUSE)  # psutil's own wait would take the exit of our children from us


def kill_descendants(leader: int) -> None:
    """Kill once what descends from this process now; it itself is spared, its end belongs to who started it."""
    try:
        _kill({process for process in psutil.Process(leader).children(recursive=True) if _runs(process)})
    except psutil.Error:  # it ended meanwhile
        return


def _kill(found: set[psutil.Process]) -> bool:
    others = [process for process in found if process.pid != os.getpid()]
    for process in others:
        with suppress(psutil.Error):
            process.kill()
    return bool(others)


def _marked(mark: str) -> set[psutil.Process]:
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").startswith(mark) and _runs(process):
                found.add(process)
    return found


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
