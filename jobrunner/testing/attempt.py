"""One rehearsed attempt, in a process of its own: stale leases are taken, the task claimed, run, settled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, text, update

from jobrunner.background.reaper import reclaim_all
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.execution.attempt import owned, perform, perform_async, with_delay
from jobrunner.handlers import Context, registry
from jobrunner.handlers.declare import Handler
from jobrunner.handlers.effects import EFFECT_DEADLINE
from jobrunner.queue import store
from jobrunner.queue.task import Ending, Lease, Outcome, Status, Task
from jobrunner.testing.calls import Call, heard, write_call
from jobrunner.testing.channel import SteppedChannel
from jobrunner.testing.errors import RehearsalError
from jobrunner.testing.steps import Steps
from jobrunner.testing.warm import known

# Exit codes:
ENDED = 0
BROKEN = 1  # it could not be carried out; why stands in its output
AGAIN = 75  # the task waits to be tried again
LATE = 124  # it was ended since it took too long
NODE = "rehearsal"
LEASE = 3600.0  # seconds: nobody renews it
FAR = 366 * 86_400.0  # seconds
ALONE = 30.0  # seconds that a server has to notice the end of a process
_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)


def attempt(order: Mapping[str, Any]) -> int:
    """Run one attempt as ``order`` says and return the exit code; see :func:`jobrunner.testing.survive`."""
    steps = Steps(order["steps"], order["kill_at"])
    steps.watch()

    def keep(made: Call) -> None:
        write_call(order["calls"], made)
        steps.reach(f"after call {made}")

    with heard(keep):
        for module in order["modules"]:
            registry.import_handlers(module)
        if order["fakes"] is not None:
            module, name = order["fakes"]
            getattr(import_module(module), name)()
        database = known(order["url"]) or open_database(order["url"])
        task = claimed(order["task"]) or _next(database, order["task_id"], order["task_type"])
        if task is None:  # the process before was killed after it had settled
            return ENDED
        return _run(database, task, steps)


def claim(conn: Connection, task_id: str, task_type: str) -> Task | None:
    """Claim the task, whatever it waits for; other tasks of its type, which it added itself, wait for ever."""
    waiting = update(tasks).where(tasks.c.task_type == task_type, tasks.c.status == Status.PENDING)
    conn.execute(waiting.where(tasks.c.task_id != task_id).values(run_at=db_now(FAR)))
    conn.execute(waiting.where(tasks.c.task_id == task_id).values(run_at=db_now(-1.0)))
    found = store.claim(conn, NODE, types=[task_type], queues=None, limit=1, lease_seconds=LEASE)
    return found[0] if found else None


def claimed(facts: list[Any] | None) -> Task | None:
    """The task that the prepared database has claimed already: to claim takes half of a short attempt's time."""
    return None if facts is None else Task(Lease(*facts[0]), *facts[1:])


def _run(database: Database, task: Task, steps: Steps) -> int:
    handler = registry.get(task.task_type)
    channel = SteppedChannel(task, handler, database, steps)
    context = Context(task, channel)
    steps.on = True
    steps.reach("before the handler")
    if handler.kind == "async":
        outcome = asyncio.run(perform_async(task, handler, context))
    else:
        outcome = perform(task, handler, context)
    steps.reach("after the handler")
    with steps.inside("settle"):
        status = _settle(database, channel, task, handler, outcome)
    return AGAIN if status is Status.PENDING else ENDED


def _settle(
    database: Database, channel: SteppedChannel, task: Task, handler: Handler, outcome: Outcome
) -> Status | None:
    """Record how it ended, as a worker does: with its effects in one transaction, else by itself."""
    if channel.settled is not None:
        return Status.COMPLETED
    if outcome.ending is Ending.COMPLETED and outcome.effects:
        outcome = channel.database.complete(task, outcome, EFFECT_DEADLINE)
        if outcome.settled:
            return Status.COMPLETED
    with database.begin() as conn:
        channel.reports.write(conn, channel.reports.take())
        ending = with_delay(owned(replace(outcome, effects=())), task, handler)
        return store.settle(conn, [(task, ending)])[0].status


def _wait_until_alone(database: Database) -> None:
    """Until the server has undone what a killed process left open: reclaiming passes over rows that it still locks."""
    if database.is_sqlite:
        return
    until = time.monotonic() + ALONE
    with database.read() as conn:
        while conn.execute(_OTHERS).scalar_one():
            if time.monotonic() > until:
                raise RehearsalError(f"somebody else is connected to the rehearsal's database {database.url.database}")
            time.sleep(0.005)


def _next(database: Database, task_id: str, task_type: str) -> Task | None:
    """Take back the lease of the process before, and claim the task again."""
    _wait_until_alone(database)
    reclaim_all(database)
    with database.begin() as conn:
        return claim(conn, task_id, task_type)
