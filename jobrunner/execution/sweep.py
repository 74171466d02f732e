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


def sweep(mark: str, leader: int | None = None) -> int:
    """Kill what was started under this mark, or one that begins so, and what descends from ``leader``.

    ``leader`` itself is spared: its end belongs to who started it. Returns how many were killed.
    """
    killed: set[psutil.Process] = set()
    for _ in range(_ROUNDS):  # one that forks while we look is met in the next round
        found = {
            process for process in _descendants(leader) | _marked(mark) if process.pid not in (leader, os.getpid())
        }
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        if not found:
            break
        killed |= found
        time.sleep(_PAUSE)  # psutil's own wait would take the exit of our children from us
    return len(killed)


def _descendants(leader: int | None) -> set[psutil.Process]:
    if leader is None:
        return set()
    try:
        return {process for process in psutil.Process(leader).children(recursive=True) if _runs(process)}
    except psutil.Error:
        return set()


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
