"""What user code declares: handlers, effects and hooks. Knows not how, where or when a handler runs."""

from jobrunner.handlers.context import Context
from jobrunner.handlers.declare import Handler, task
from jobrunner.handlers.effects import effect, run_effect
from jobrunner.handlers.hooks import on_worker_start, on_worker_stop, run_hooks
from jobrunner.handlers.registry import find, get, handlers, load
from jobrunner.queue.retry import Retry

__all__ = [
    "Context",
    "Handler",
    "Retry",
    "effect",
    "find",
    "get",
    "handlers",
    "load",
    "on_worker_start",
    "on_worker_stop",
    "run_effect",
    "run_hooks",
    "task",
]
