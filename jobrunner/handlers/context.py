"""The Context: what a handler may know and say about the attempt it is."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from jobrunner.handlers.effects import Effect, effect_name
from jobrunner.queue import codec
from jobrunner.queue.task import LogLine, Task

if TYPE_CHECKING:
    from sqlalchemy import Connection

PROGRESS_BYTES = 500  # of the words beside a fraction


class Transaction(Protocol):
    """A handler's own transaction; it is committed when its block ends, and only if the lease still holds."""

    conn: Connection

    def complete(self, result: Any = None) -> None:
        """Settle the task as completed with this result in this transaction, last before its COMMIT."""


class Channel(Protocol):
    """How a Context reaches the worker. Each way of running a handler has its own; all are safe in any thread."""

    @property
    def cancelled(self) -> bool:
        """Whether this attempt was asked to end."""

    def progress(self, fraction: float | None, message: str) -> None:
        """Tell how far it is, at most ten times a second; of more, the latest."""

    def log(self, line: LogLine) -> None:
        """Keep a line with the attempt."""

    def apply(self, effect: str, rows: list[Any]) -> Any:
        """Run an effect now in a transaction of its own; raises LeaseLost."""

    def transaction(self, context: Context) -> AbstractContextManager[Transaction]:
        """Open the handler's own transaction; raises HandlerError where there is none to have."""


class Context:
    """Given to a handler that has a parameter annotated with it. Its calls may come from any thread."""

    __slots__ = ("_channel", "_deferred", "_task")

    def __init__(self, task: Task, channel: Channel) -> None:
        self._task = task
        self._channel = channel
        self._deferred: tuple[tuple[str, list[Any]], ...] = ()

    @property
    def task_id(self) -> str:
        """The task's public name."""
        return self._task.task_id

    @property
    def task_type(self) -> str:
        """The name under which this handler is registered."""
        return self._task.task_type

    @property
    def attempt(self) -> int:
        """The number of this execution: it rises with each, and never falls."""
        return self._task.lease.attempt

    @property
    def token(self) -> str:
        """The lease's random token: who holds the current one owns the task."""
        return self._task.lease.token

    @property
    def generation(self) -> int:
        """How often the task was started anew by hand."""
        return self._task.generation

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context that came with the request."""
        return self._task.traceparent

    @property
    def tags(self) -> Any:
        """The tags that came with the request; None where there were none."""
        return None if self._task.tags is None else json.loads(self._task.tags)

    @property
    def cancelled(self) -> bool:
        """Whether this attempt was asked to end: by a cancel, a lost lease, or the worker's stop.

        A handler that sees it returns soon; what it returns then does not count.
        """
        return self._channel.cancelled

    @property
    def deferred(self) -> tuple[tuple[str, list[Any]], ...]:
        """The effects that shall commit together with the task's completion, in order."""
        return self._deferred

    def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Show how far it is: a fraction from 0 to 1, or None where nobody knows, and a few words."""
        if fraction is not None:
            fraction = None if math.isnan(fraction) else min(1.0, max(0.0, float(fraction)))
        self._channel.progress(fraction, codec.clean_text(message, PROGRESS_BYTES))

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Keep a line with this attempt; ``fields`` are JSON values."""
        self._channel.log(LogLine(datetime.now(UTC), level, message, fields))

    def apply(self, effect: str | Effect, rows: list[Any]) -> Any:
        """Run an effect now, in a transaction that commits only while this attempt owns its task.

        Returns what the effect returned. Raises LeaseLost when another attempt owns the task, or it ended. It blocks
        on the database: in an ``async`` handler, ``await asyncio.to_thread(ctx.apply, ...)``.
        """
        return self._channel.apply(effect_name(effect), list(rows))

    def on_complete(self, effect: str | Effect, rows: list[Any]) -> None:
        """Run an effect in the transaction that completes the task: both stand, or neither does."""
        self._deferred += ((effect_name(effect), list(rows)),)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """The handler's own transaction, for plain functions in a child process on PostgreSQL.

        ``with ctx.transaction() as tx``: write through ``tx.conn``, and end with ``tx.complete(result)``, which
        completes the task in it together with the effects of :meth:`on_complete`; what the handler returns afterwards
        does not count. The block's end commits; it raises LeaseLost, and nothing was written, where the attempt no
        longer owns its task. While it is open nobody else can write the task's row, so keep it short. Raises
        HandlerError elsewhere.
        """
        return self._channel.transaction(self)
