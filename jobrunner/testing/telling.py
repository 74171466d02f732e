"""How a context tells a test what the handler says, and answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jobrunner.db.held import held
from jobrunner.db.undo import undone_where_it_fails
from jobrunner.errors import HandlerError
from jobrunner.execution.applied import applied, checked
from jobrunner.execution.inprocess import refuse_in_loop, refuse_transaction
from jobrunner.execution.own_database import OwnTransaction
from jobrunner.execution.quota import Quota
from jobrunner.execution.wire import pack
from jobrunner.handlers import Context, run_effect
from jobrunner.handlers.context import Transaction
from jobrunner.handlers.declare import Handler
from jobrunner.queue.task import LogLine, Outcome
from jobrunner.testing.calls import Call
from jobrunner.testing.clock import Clock
from jobrunner.testing.ran import Asked, Progress

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass
class Told:
    """All that a run told so far, in order."""

    clock: Clock
    progress: list[Progress] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    applied: list[Asked] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


class ToldChannel:
    """Keeps what a context is told; see :func:`jobrunner.testing.run` for what its parts mean."""

    def __init__(
        self,
        handler: Handler,
        told: Told,
        cancelled: bool | Callable[[Told], bool],
        answers: Mapping[str, Any],
        conn: Connection | None,
    ) -> None:
        self._handler = handler
        self._told = told
        self._cancel = cancelled
        self._asked = False
        self._answers = answers
        self._conn = conn
        self._quota = Quota("log")
        self.settled: Outcome | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the test says so by now; once said, it stays."""
        self._asked = self._asked or (self._cancel(self._told) if callable(self._cancel) else self._cancel)
        return self._asked

    def progress(self, fraction: float | None, message: str) -> None:
        """Keep every report: a worker would keep the latest, ten times a second."""
        self._told.progress.append(Progress(self._told.clock.now, fraction, message))

    def log(self, line: LogLine) -> None:
        """Keep a line as a worker would: cleaned, cut, and no more than it keeps."""
        kept = self._quota.admit(line)
        if kept is not None:
            self._told.logs.append(replace(kept, at=self._told.clock.now))

    def apply(self, effect: str, rows: list[Any]) -> Any:
        """Write the wish down, and answer it."""
        if self._handler.kind == "async" and in_loop():
            refuse_in_loop()
        if self._handler.kind == "child":
            pack({"rows": rows})  # as on their way to the worker: what is no JSON is an error of the handler's
        self._told.applied.append(Asked(effect, rows))
        if effect in self._answers:
            return answered(effect, self._answers[effect], rows)
        if self._conn is None:
            return None
        with undone_where_it_fails(self._conn):
            return applied(self._conn, effect, rows)

    def transaction(self, context: Context) -> AbstractContextManager[Transaction]:
        """The test's connection, where a worker would have one to give."""
        if self._handler.kind != "child":
            refuse_transaction(context)
        if self._conn is None:
            raise HandlerError("ctx.transaction() needs a database: give run(...) a conn")
        return self._transaction(self._conn, context)

    @contextmanager
    def _transaction(self, conn: Connection, context: Context) -> Iterator[Transaction]:
        opened = OwnTransaction(conn, context)
        with undone_where_it_fails(conn):
            with held(conn, "ctx.transaction()"):
                yield opened
            for name, rows in opened.outcome.effects if opened.outcome is not None else ():
                if name in self._answers:
                    answered(name, self._answers[name], rows)
                else:
                    run_effect(conn, name, rows)
        if opened.outcome is not None:
            self.settled = replace(opened.outcome, effects=())


def answered(effect: str, answer: Any, rows: list[Any]) -> Any:
    """What a test has an effect say, or raise."""
    return checked(effect, answer(rows) if callable(answer) else answer)


def in_loop() -> bool:
    """Whether this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
