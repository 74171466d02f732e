"""jobrunner: background and scheduled work on a SQL queue.

The public names are loaded when first used, so that ``import jobrunner`` (every child process does) stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobrunner.errors import Cancel, InvalidInput, JobrunnerError, LeaseLost, RetryLater
    from jobrunner.handlers import Context, Retry, effect, on_worker_start, on_worker_stop, task
    from jobrunner.submission import submit as enqueue

__all__ = [
    "Cancel",
    "Context",
    "InvalidInput",
    "JobrunnerError",
    "LeaseLost",
    "Retry",
    "RetryLater",
    "effect",
    "enqueue",
    "on_worker_start",
    "on_worker_stop",
    "task",
]

_HOMES = {
    "jobrunner.errors": ("Cancel", "InvalidInput", "JobrunnerError", "LeaseLost", "RetryLater"),
    "jobrunner.handlers": ("Context", "Retry", "effect", "on_worker_start", "on_worker_stop", "task"),
}


def __getattr__(name: str) -> Any:
    if name == "enqueue":
        return import_module("jobrunner.submission").submit
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'jobrunner' has no attribute {name!r}")
