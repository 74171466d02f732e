"""How a Context in a child process reaches the worker, or the database where the child has its own way there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobrunner.errors import DatabaseUnavailable, HandlerError, LeaseLost
from jobrunner.execution.link import Link
from jobrunner.execution.own_database import OwnDatabase
from jobrunner.execution.pace import Pacer
from jobrunner.execution.quota import Quota
from jobrunner.handlers.context import Context, Transaction
from jobrunner.queue.task import LogLine, Outcome, Task

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAKING = threading.Lock()  # a handler's threads may say its first words at once
_REFUSALS = {"LeaseLost": LeaseLost, "DatabaseUnavailable": DatabaseUnavailable}


class ChildChannel:
    """Carries one attempt's words. ``database`` is None where only the worker may write; ``limit`` is in seconds."""

    def __init__(self, task: Task, link: Link, attempt: int, database: OwnDatabase | None, limit: float) -> None:
        self._task = task
        self._link = link
        self._attempt = attempt
        self.database = database
        self._limit = limit
        self._pacer: Pacer | None = None  # made by the first word: most attempts say none
        self._quota: Quota | None = None
        self.seen = False  # the handler knows that it was asked to end
        self.settled: Outcome | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the worker asked this attempt to end."""
        if self._link.stop_asked(self._attempt):
            self.seen = True
        return self.seen

    def progress(self, fraction: float | None, message: str) -> None:
        """Pass progress on, at most ten times a second."""
        with _MAKING:
            self._pacer = self._pacer or Pacer(self._progress)
        self._pacer.tell(fraction, message)

    def log(self, line: LogLine) -> None:
        """Pass a line on, as long as there are not too many."""
        with _MAKING:
            self._quota = self._quota or Quota("log")
        kept = self._quota.admit(line)
        if kept is not None:
            self._send_line(kept)

    def apply(self, effect: str, rows: list[Any]) -> Any:
        """Run an effect here, or let the worker run it."""
        if self.database is not None:
            return self.database.apply(self._task.lease, effect, rows, self._limit)
        answer = self._link.ask({"op": "apply", "effect": effect, "rows": rows}, self._attempt)
        if "error" not in answer:
            return answer["value"]
        raise _REFUSALS.get(answer["kind"], RuntimeError)(answer["error"])

    def transaction(self, context: Context) -> AbstractContextManager[Transaction]:
        """Open the handler's own transaction."""
        if self.database is None:
            raise HandlerError(
                f"{context.task_type}: ctx.transaction() needs PostgreSQL; on SQLite one process writes, and it is "
                "the worker: use ctx.on_complete or ctx.apply"
            )
        return self._transaction(self.database, context)

    @contextmanager
    def _transaction(self, database: OwnDatabase, context: Context) -> Iterator[Transaction]:
        with database.transaction(self._task, context, self._limit) as opened:
            yield opened
        if opened.outcome is not None:
            self.settled = replace(opened.outcome, settled=True, effects=())

    def close(self) -> None:
        """Pass on what was held back: the attempt is over."""
        if self._pacer is not None:
            self._pacer.flush()
        note = None if self._quota is None else self._quota.note()
        if note is not None:
            self._send_line(note)

    def _progress(self, fraction: float | None, message: str) -> None:
        self._link.send({"op": "progress", "fraction": fraction, "message": message}, self._attempt)

    def _send_line(self, line: LogLine) -> None:
        at = (line.at - _EPOCH) // timedelta(microseconds=1)
        said = {"op": "log", "at": at, "level": line.level, "message": line.message, "fields": line.fields}
        self._link.send(said, self._attempt)
