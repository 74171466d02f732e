"""Functions that run once in a worker process: before its first task, and after its last."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from jobrunner.handlers import registry

Which = Literal["start", "stop"]
_H = TypeVar("_H", bound=Callable[[], Any])


def on_worker_start(function: _H) -> _H:
    """Run this function without arguments, plain or ``async``, in every worker process before it takes a task."""
    registry.add_hook("start", function)
    return function


def on_worker_stop(function: _H) -> _H:
    """Run this function without arguments, plain or ``async``, in every worker process after its last task."""
    registry.add_hook("stop", function)
    return function


async def run_hooks(which: Which) -> None:
    """Run the hooks one after the other: ``start`` as registered, ``stop`` the other way round.

    A start hook that raises stops the worker with that error. Stop hooks all run; what they raised comes as one group.
    """
    if which == "start":
        for hook in registry.hooks("start"):
            await _call(hook)
        return
    failed: list[Exception] = []
    for hook in reversed(registry.hooks("stop")):
        try:
            await _call(hook)
        except Exception as error:  # noqa: BLE001  the others must run too; raised below
            failed.append(error)
    if failed:
        raise ExceptionGroup("hooks of the worker's stop failed", failed)


async def _call(hook: Callable[[], Any]) -> None:
    found = hook()
    if inspect.isawaitable(found):
        await found
