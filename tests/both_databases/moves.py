"""Short words for the moves, and rows of any state and age: the database tells the time, so tests age the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from jobrunner.db.engine import Database
from jobrunner.db.tables import attempts, tasks
from jobrunner.db.types import db_now
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Submitted
from jobrunner.queue.task import Ending, Outcome, Status, Task

LEASE = 30.0
DONE = Outcome(Ending.COMPLETED, result='{"ok":true}')
BROKEN = Outcome(Ending.ERROR, error="boom", error_class="ValueError", traceback="Traceback ...", delay=0.0)


def add(database: Database, task_type: str = "work", **options: Any) -> Submitted:
    with database.begin() as conn:
        return store.enqueue(conn, new_task(task_type, options.pop("payload", {}), **options))


def take(
    database: Database,
    limit: int = 10,
    *,
    types: Sequence[str] = ("work",),
    queues: Sequence[str] | None = None,
    node: str = "node-a",
) -> list[Task]:
    with database.begin() as conn:
        return store.claim(conn, node, types=types, queues=queues, limit=limit, lease_seconds=LEASE)


def end(database: Database, task: Task, outcome: Outcome = DONE) -> Status | None:
    with database.begin() as conn:
        return store.settle(conn, [(task, outcome)])[0].status


def row(database: Database, task_id: str) -> Any:
    with database.read() as conn:
        return conn.execute(select(tasks).where(tasks.c.task_id == task_id)).one()


def left(database: Database, task_id: str) -> list[Any]:
    """The rows of attempts of this task, oldest first."""
    with database.read() as conn:
        found = select(attempts).join(tasks, tasks.c.id == attempts.c.task).where(tasks.c.task_id == task_id)
        return list(conn.execute(found.order_by(attempts.c.attempt)))


def age_lease(database: Database, task_id: str, seconds: float) -> None:
    """Let the lease have ended this long ago."""
    with database.begin() as conn:
        change(conn, task_id, lease_until=db_now(-seconds))


def change(conn: Connection, task_id: str, **values: Any) -> None:
    conn.execute(update(tasks).where(tasks.c.task_id == task_id).values(**values))


def reclaim(database: Database) -> list[str]:
    with database.begin() as conn:
        return [one.task_id for one in store.reclaim(conn)]
