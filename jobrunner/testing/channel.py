"""How a context in a rehearsed attempt reaches the database: as in a child process, with a step at each word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from jobrunner.db.engine import Database
from jobrunner.errors import HandlerError
from jobrunner.execution.inprocess import refuse_in_loop, refuse_transaction
from jobrunner.execution.own_database import OwnDatabase
from jobrunner.execution.quota import Quota
from jobrunner.handlers import Context
from jobrunner.handlers.context import Transaction
from jobrunner.handlers.declare import Handler
from jobrunner.handlers.effects import EFFECT_DEADLINE
from jobrunner.node.reports import Gathered
from jobrunner.queue.task import LogLine, Outcome, Task
from jobrunner.testing.steps import Steps
from jobrunner.testing.telling import in_loop


class SharedDatabase(OwnDatabase):
    """The way to the database that the process has already: a SQLite file takes one writing connection."""

    def __init__(self, database: Database) -> None:
        super().__init__(lambda: "")
        self._database = database


class SteppedChannel:
    """Carries one attempt's words, and passes a step at each."""

    cancelled = False  # who is killed is not asked

    def __init__(self, task: Task, handler: Handler, database: Database, steps: Steps) -> None:
        self._task = task
        self._handler = handler
        self._steps = steps
        self._writes = not database.is_sqlite
        self._quota = Quota("log")
        self.database = SharedDatabase(database)
        self.reports = Gathered(database)
        self.settled: Outcome | None = None

    def progress(self, fraction: float | None, message: str) -> None:
        """Keep the latest for the end of the attempt."""
        self._steps.reach(f"ctx.progress {fraction} {message}".rstrip())
        self.reports.progress(self._task.lease, fraction, message)

    def log(self, line: LogLine) -> None:
        """Keep a line for the end of the attempt."""
        self._steps.reach(f"ctx.log {line.message[:40]}")
        kept = self._quota.admit(line)
        if kept is not None:
            self.reports.logs(self._task.lease, [kept])

    def apply(self, effect: str, rows: list[Any]) -> Any:
        """Run an effect now."""
        if self._handler.kind == "async" and in_loop():
            refuse_in_loop()
        with self._steps.inside(f"ctx.apply {effect}"):
            self._steps.reach("before it")
            return self.database.apply(self._task.lease, effect, rows, EFFECT_DEADLINE)

    def transaction(self, context: Context) -> AbstractContextManager[Transaction]:
        """Open the handler's own transaction."""
        if self._handler.kind != "child":
            refuse_transaction(context)
        if not self._writes:
            raise HandlerError(f"{context.task_type}: ctx.transaction() needs PostgreSQL: give survive a database_url")
        return self._transaction(context)

    @contextmanager
    def _transaction(self, context: Context) -> Iterator[Transaction]:
        with self._steps.inside("ctx.transaction"):
            with self.database.transaction(self._task, context, EFFECT_DEADLINE) as opened:
                yield opened
        if opened.outcome is not None:
            self.settled = replace(opened.outcome, settled=True, effects=())
