"""Threads that tasks left running in the process of the next ones: nobody can end them, but who left them is known."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from jobrunner.queue import codec
from jobrunner.queue.task import Task

SHOWN_TASKS, SHOWN_NAMES = 5, 10  # of which a text tells
NAME_BYTES = 100
# Names of jobrunner's own, which tasks only cause, and of what stands for threads that Python did not start, which
# stays when they have ended.
NOBODYS = ("db-deadlines", "progress", "Dummy-")


@dataclass(frozen=True, slots=True)
class Left:
    """What tasks have left so far: how many threads, and a sentence's part that names them and who left them."""

    count: int
    told: str


class LeftThreads:
    """Looks, between two tasks, for threads that were not there before. Only what ``threading`` knows is seen."""

    def __init__(self) -> None:
        self._alive = threading.enumerate()
        self._by: dict[threading.Thread, str] = {}  # who left it

    def look(self, former: Task | None) -> Left | None:
        """What stands now of the threads that ``former``, which ended, and tasks before it began; None where nothing
        changed since the last look.
        """
        alive = threading.enumerate()
        if alive == self._alive:  # as nearly always: it takes as long as to ask for them
            return None
        known = {*self._alive}
        self._alive = alive
        self._by = {thread: task for thread, task in self._by.items() if thread in alive}
        for thread in alive:
            if former is not None and thread not in known and not thread.name.startswith(NOBODYS):
                self._by[thread] = f"{former.task_id!r} ({former.task_type})"
        return Left(len(self._by), self._told())

    def _told(self) -> str:
        names: dict[str, list[str]] = {}
        for thread, task in self._by.items():
            names.setdefault(task, []).append(codec.clean_text(thread.name, NAME_BYTES))
        told = [f"{_listed(found, SHOWN_NAMES)} of task {task}" for task, found in names.items()]
        return _listed(told, SHOWN_TASKS, "; ")


def _listed(parts: list[str], most: int, between: str = ", ") -> str:
    more = len(parts) - most
    return between.join(parts if more <= 0 else [*parts[:most], f"{more} more"])
