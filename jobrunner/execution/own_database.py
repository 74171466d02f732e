"""The one database connection of a child process, where it may have one: effects and the handler's own transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jobrunner.errors import Cancel, DatabaseUnavailable, HandlerError, LeaseLost
from jobrunner.execution.applied import applied
from jobrunner.execution.attempt import completed, failed
from jobrunner.handlers.context import Context
from jobrunner.handlers.effects import EFFECT_DEADLINE, run_effect
from jobrunner.queue.task import Lease, Outcome, Status, Task
from jobrunner.settings.failpoints import hit

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jobrunner.db.engine import Database

OWN_IDLE = 60.0  # seconds that a handler may think between two statements of its own transaction
LOST = "another attempt owns this task now, or it ended; what was written here was undone"


class OwnTransaction:
    """A handler's open transaction, and the result that it settles its task with."""

    def __init__(self, conn: Connection, context: Context) -> None:
        self.conn = conn
        self.outcome: Outcome | None = None
        self._context = context

    def complete(self, result: Any = None) -> None:
        """Settle the task as completed with this result, last before the COMMIT at the block's end."""
        self.outcome = completed(result, self._context)


class OwnDatabase:
    """Opened at its first use, with the address that ``find_url`` gets from the worker: never by the environment."""

    def __init__(self, find_url: Callable[[], str]) -> None:
        self._find_url = find_url
        self._in_transaction = False

    @cached_property
    def _database(self) -> Database:
        from jobrunner.db.engine import open_database  # most handlers never need it

        return open_database(self._find_url(), pool_size=1)

    def apply(self, lease: Lease, effect: str, rows: list[Any], limit: float) -> Any:
        """Run an effect in a transaction fenced by the lease, of EFFECT_DEADLINE or ``limit`` seconds at most.

        Raises LeaseLost.
        """
        with self._begin(min(limit, EFFECT_DEADLINE)) as conn:
            value = applied(conn, effect, rows)
            _prove(conn, lease)
            return value

    @contextmanager
    def transaction(self, task: Task, context: Context, limit: float) -> Iterator[OwnTransaction]:
        """The handler's own transaction; settles the task at its end where the handler completed it."""
        from jobrunner.db.held import held

        with self._begin(limit, idle=OWN_IDLE) as conn:
            opened = OwnTransaction(conn, context)
            with held(conn, "ctx.transaction()"):
                yield opened
            if opened.outcome is None:
                _prove(conn, task.lease)
            else:
                _settle(conn, task, opened.outcome)

    def complete(self, task: Task, outcome: Outcome, limit: float) -> Outcome:
        """Settle a completed attempt together with its effects; what the attempt came to then.

        Where the database cannot be reached the outcome comes back as it was, with its effects: the worker settles
        it as soon as it can. Whatever was committed before the answer was lost fences that second try.
        """
        try:
            with self._begin(min(limit, EFFECT_DEADLINE)) as conn:
                _settle(conn, task, outcome)
        except DatabaseUnavailable:
            return outcome
        except Exception as error:  # noqa: BLE001  effects are the handler's code: theirs is the attempt's failure
            return failed(error)
        hit("effect-after-commit")
        return replace(outcome, settled=True, effects=())

    @contextmanager
    def _begin(self, limit: float, idle: float | None = None) -> Iterator[Connection]:
        if self._in_transaction:
            raise HandlerError("ctx.transaction() is open: write through its conn")
        self._in_transaction = True
        try:
            with self._database.begin(deadline=limit, free=True, idle=idle) as conn:
                yield conn
        finally:
            self._in_transaction = False


def _prove(conn: Connection, lease: Lease) -> None:
    from jobrunner.queue import store

    if not store.holds(conn, lease):
        raise LeaseLost(LOST)


def _settle(conn: Connection, task: Task, outcome: Outcome) -> None:
    from jobrunner.queue import store

    for name, rows in outcome.effects:
        run_effect(conn, name, rows)
    [settled] = store.settle(conn, [(task, replace(outcome, effects=()))])
    hit("effect-before-commit")
    if settled.status is None:
        raise LeaseLost(LOST)
    if settled.status is not Status.COMPLETED:
        raise Cancel("cancelled while it ran")
