"""What the routes need of the process around them. The command line composes it; nothing here knows how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database
from jobrunner.settings import Settings


@dataclass(frozen=True)
class NodeFacts:
    """One process's own figures. ``state`` as in the ``nodes`` table; percentages are 0 to 100, memory is in bytes."""

    node_id: str
    node_name: str
    state: str
    max_workers: int
    running: int
    completed: int
    failed: int
    busy_seconds: float
    uptime_seconds: float
    cpu_percent: float
    memory_percent: float
    disk_percent: float
    cpu_count: int
    memory_total: int
    types: tuple[str, ...]


def _nothing() -> None:
    return None


def _no() -> bool:
    return False


@dataclass(frozen=True)
class Service:
    """The parts of one serving process.

    ``node`` tells this process's own figures and is None where it only serves; ``shutdown`` drains the process and is
    None where nobody may ask that. ``wake`` and ``cancel_hint`` are called after the commit of a submission and of a
    cancel: hints, which may be lost. ``ends`` knows who waits for which tasks. ``stopping`` is true once the process
    drains: it is not ready any more, and open event streams and waits end.
    """

    settings: Settings
    database: Database
    node: Callable[[], NodeFacts] | None = None
    shutdown: Callable[[], None] | None = None
    wake: Callable[[], None] = _nothing
    cancel_hint: Callable[[], None] = _nothing
    ends: Ends = field(default_factory=Ends)
    stopping: Callable[[], bool] = _no
