"""How other programs, and the command line, reach the queue: over REST, or straight at the database. Never SQL.

``Client`` and ``AsyncClient`` are for programs; their names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobrunner.client.async_client import AsyncClient, AsyncHandle
    from jobrunner.client.client import Client, Handle
    from jobrunner.client.errors import (
        ClientClosed,
        OutcomeUnknown,
        Refused,
        TaskCancelled,
        TaskFailed,
        Unreachable,
        WaitTimeout,
    )
    from jobrunner.client.shapes import Event, LogLine, Options, Request, Task, TaskState

__all__ = [
    "AsyncClient",
    "AsyncHandle",
    "Client",
    "ClientClosed",
    "Event",
    "Handle",
    "LogLine",
    "Options",
    "OutcomeUnknown",
    "Refused",
    "Request",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskState",
    "Unreachable",
    "WaitTimeout",
]

_HOMES = {
    "async_client": ("AsyncClient", "AsyncHandle"),
    "client": ("Client", "Handle"),
    "errors": (
        "ClientClosed",
        "OutcomeUnknown",
        "Refused",
        "TaskCancelled",
        "TaskFailed",
        "Unreachable",
        "WaitTimeout",
    ),
    "shapes": ("Event", "LogLine", "Options", "Request", "Task", "TaskState"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
