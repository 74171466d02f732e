"""What one running process offers to those who look into it: the API, the demo, the tests."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field

from jobrunner.db.ends import Ends
from jobrunner.db.engine import Database
from jobrunner.db.hints import Hints
from jobrunner.db.notes import CANCEL, WORK
from jobrunner.node.state import Identity, State
from jobrunner.settings import Settings


@dataclass
class Process:
    """One process of jobrunner. ``identity`` and ``state`` are None where it does not work (``api``)."""

    settings: Settings
    database: Database
    hints: Hints
    ends: Ends
    identity: Identity | None = None
    state: State | None = None
    url: str | None = None
    draining: bool = False
    exit_code: int = 0
    started: float = field(default_factory=time.monotonic)
    inbox: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def wake(self) -> None:
        """There is new work: tell this process and all others."""
        self.hints.send(WORK)

    def cancel_hint(self) -> None:
        """Somebody asked for a cancel: tell this process and all others."""
        self.hints.send(CANCEL)

    def shutdown(self, reason: str = "asked to") -> None:
        """Drain and end."""
        self.inbox.put(reason)
