"""What a node says of itself: who it is, and how it fares at this moment."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, NamedTuple

from jobrunner.node.host import Figures


class PoolFacts(NamedTuple):
    """How many tasks of which types a node runs at a time."""

    slots: int
    types: tuple[str, ...]


@dataclass(frozen=True)
class Identity:
    """Who this process is. ``id`` is fresh at every start: a host name or a stable id made dead nodes look alive."""

    name: str
    slots: int
    types: tuple[str, ...]
    queues: tuple[str, ...] | None
    address: str | None
    heartbeat_interval: float
    pools: tuple[PoolFacts, ...] = ()
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    version: str = field(default_factory=lambda: version("jobrunner"))

    def columns(self, stuck: Sequence[int] = ()) -> dict[str, Any]:
        """As columns of the node's row; ``stuck`` as for :meth:`pools_column`."""
        return {
            "id": self.id,
            "name": self.name,
            "host": self.host,
            "pid": self.pid,
            "address": self.address,
            "version": self.version,
            "queues": None if self.queues is None else json.dumps(list(self.queues)),
            "types": json.dumps(list(self.types)),
            "slots": self.slots,
            "heartbeat_interval": self.heartbeat_interval,
            "pools": self.pools_column(stuck),
        }

    def pools_column(self, stuck: Sequence[int] = ()) -> str:
        """The pools, and how many slots of each are ``stuck``."""
        counts = dict(enumerate(stuck))
        return json.dumps(
            [
                {"slots": pool.slots, "types": list(pool.types), "stuck": counts.get(place, 0)}
                for place, pool in enumerate(self.pools)
            ]
        )


@dataclass
class State:
    """How the node fares. Written by the worker's loop and read elsewhere; each field is replaced whole."""

    state: str = "active"
    reason: str | None = None
    running: int = 0
    stuck_in: tuple[int, ...] = ()  # slots of each pool
    completed: int = 0
    failed: int = 0
    busy_seconds: float = 0.0
    figures: Figures = field(default_factory=Figures)
    database_lost: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def stuck(self) -> int:
        """Slots whose handler goes on although its attempt was given up."""
        return sum(self.stuck_in)

    def columns(self) -> dict[str, Any]:
        """As columns of the node's row."""
        return {
            "state": self.state,
            "reason": self.reason,
            "running": self.running,
            "stuck": self.stuck,
            "completed": self.completed,
            "failed": self.failed,
            "busy_seconds": self.busy_seconds,
            **self.figures.columns(),
        }
