"""How much memory process trees hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import psutil


def trees(roots: Collection[int]) -> dict[int, int]:
    """Resident bytes of each process with all its descendants; what ended meanwhile counts nothing.

    One walk over all processes whatever the number of roots: ``Process.children(recursive=True)`` walks once for each.
    Memory that parent and child share is counted in both, so a tree of forks looks larger than it is.
    """
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter(["ppid"]):
        children[process.info["ppid"]].append(process)
        if process.pid in roots:
            found[process.pid] = process
    return {root: _resident(process, children) for root, process in found.items()}


def _resident(root: psutil.Process, children: dict[int, list[psutil.Process]]) -> int:
    total = 0
    waiting = [root]
    while waiting:
        process = waiting.pop()
        waiting += children[process.pid]
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total
