"""``@task``: what makes a function a handler, and the facts kept about it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

from jobrunner.errors import HandlerError
from jobrunner.handlers import registry
from jobrunner.handlers.arguments import Arguments
from jobrunner.queue.retry import Retry
from jobrunner.queue.task import DEFAULT_MAX_ATTEMPTS, DEFAULT_PRIORITY, DEFAULT_QUEUE, PRIORITIES

Kind = Literal["child", "inline", "async"]
Settle = Literal["together", "at once"]
MAX_NAME = 200
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Handler:
    """A function that does one type of work, and how it wants to be run.

    ``kind`` says where: in a child process, in a thread of the worker (``inline``) or in the worker's loop (``async``).
    ``timeout`` is in seconds, None for the worker's default; ``memory_mb`` limits a child with all it started;
    ``settle`` says whether its end may wait a few milliseconds for those of others.
    """

    name: str
    function: Callable[..., Any]
    kind: Kind
    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    timeout: float | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    retry: Retry = field(default_factory=Retry)
    memory_mb: int | None = None
    settle: Settle = "together"
    description: str = ""

    @property
    def module(self) -> str:
        """The module to import to find this handler in another process."""
        return self.function.__module__

    @cached_property
    def arguments(self) -> Arguments:
        """How a payload becomes arguments; raises HandlerError where the signature cannot say."""
        return Arguments.of(self.function)

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the payload."""
        return self.arguments.schema()


def task(
    name: str,
    *,
    queue: str = DEFAULT_QUEUE,
    priority: int = DEFAULT_PRIORITY,
    timeout: float | None = None,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    retry: Retry | None = None,
    isolation: Literal["child", "inline"] | None = None,
    memory_mb: int | None = None,
    settle: Settle = "together",
) -> Callable[[_F], _F]:
    """Make a function the handler of a task type; the function itself is returned unchanged.

    A plain function runs in a child process, which a timeout, a cancel or ``memory_mb`` ends for certain. With
    ``isolation="inline"`` it runs in a thread of the worker instead, for work under about 10 ms: nothing can stop it.
    An ``async`` function runs in the worker's loop.

    Ends are written ``together``, those of a few milliseconds in one transaction; a worker that is killed in between
    has these tasks run again. With ``settle="at once"`` the end of this task waits for no other.

    A child is used again for the next task, with the modules and globals as they were left; processes that a handler
    leaves running end with its attempt.

    It returns JSON, or raises: RetryLater and Cancel say how the attempt ends, InvalidInput that its arguments will
    never do, anything else is a failure and is tried again. Raises HandlerError where the declaration contradicts
    itself.
    """

    def register(function: _F) -> _F:
        kind = _kind(name, function, isolation)
        if memory_mb is not None and kind != "child":
            raise HandlerError(f"handler {name!r}: memory_mb limits child processes, this one runs {kind}")
        registry.add_handler(
            Handler(
                name=name,
                function=function,
                kind=kind,
                queue=queue,
                priority=priority,
                timeout=timeout,
                max_attempts=max_attempts,
                retry=retry or Retry(),
                memory_mb=memory_mb,
                settle=settle,
                description=(inspect.getdoc(function) or "").partition("\n")[0],
            )
        )
        return function

    _check(name, queue, priority, timeout, max_attempts, memory_mb)
    if settle not in get_args(Settle):
        raise HandlerError(f"handler {name!r}: settle is 'together' or 'at once', not {settle!r}")
    return register


def _check(
    name: str, queue: str, priority: int, timeout: float | None, max_attempts: int, memory_mb: int | None
) -> None:
    for what, text in (("name", name), ("queue", queue)):
        if not isinstance(text, str) or not text.isprintable() or not 1 <= len(text.strip()) <= MAX_NAME:
            raise HandlerError(f"handler {name!r}: its {what} takes 1 to {MAX_NAME} printable characters")
    if "/" in queue or queue in (".", ".."):
        raise HandlerError(f"handler {name!r}: its queue holds no '/' and is neither '.' nor '..', being part of URLs")
    if priority not in PRIORITIES or isinstance(priority, bool):
        raise HandlerError(f"handler {name!r}: priority takes 1 to 10, 1 first, not {priority!r}")
    if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
        raise HandlerError(f"handler {name!r}: timeout takes more than 0 seconds, not {timeout!r}")
    if not isinstance(max_attempts, int) or max_attempts < 1:
        raise HandlerError(f"handler {name!r}: max_attempts takes 1 or more, not {max_attempts!r}")
    if memory_mb is not None and (not isinstance(memory_mb, int) or memory_mb < 1):
        raise HandlerError(f"handler {name!r}: memory_mb takes 1 or more MiB, not {memory_mb!r}")


def _kind(name: str, function: Callable[..., Any], isolation: str | None) -> Kind:
    if isolation not in (None, "child", "inline"):
        raise HandlerError(f"handler {name!r}: isolation is 'child' or 'inline', not {isolation!r}")
    if not inspect.isfunction(function):
        raise HandlerError(f"handler {name!r}: @task takes a function, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise HandlerError(f"handler {name!r}: a generator has no end to settle; return a value instead of yielding")
    if inspect.iscoroutinefunction(function):
        if isolation is not None:
            raise HandlerError(f"handler {name!r}: an async function runs in the worker's loop, never {isolation}")
        return "async"
    return "inline" if isolation == "inline" else "child"
