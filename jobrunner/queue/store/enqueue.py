"""-> pending: the only way into the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Float, Integer, SmallInteger, Text, cast, func, or_, select, true
from sqlalchemy.dialects.postgresql import insert

from jobrunner.db.tables import tasks
from jobrunner.db.types import Id, JsonText, Name, UTCDateTime, db_now, rowset
from jobrunner.errors import TaskExists
from jobrunner.queue.task import NewTask, Status

_t = tasks.c


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task that stands in the queue. ``created`` is False where an earlier, equal request made it."""

    id: int
    task_id: str
    status: Status
    created: bool


def enqueue(conn: Connection, new: NewTask) -> Submitted:
    """Add one task in the caller's transaction; see :func:`enqueue_many`."""
    return enqueue_many(conn, [new])[0]


def enqueue_many(conn: Connection, new: Sequence[NewTask]) -> list[Submitted]:
    """Add tasks in the caller's transaction, in one statement; one answer each, in order.

    A task_id that is taken by an equal request, or a unique_key that an open task has, answers with that task.
    Raises TaskExists (and adds nothing, once the caller rolls back) where a task_id belongs to a different request.
    """
    for _ in range(3):  # again only where a conflicting task was pruned or ended between our two looks
        made = {row.task_id: row.id for row in conn.execute(_insert(), {"fresh": [_row(task) for task in new]})}
        standing = _standing(conn, [task for task in new if task.task_id not in made])
        answers = [_answer(task, made, standing) for task in new]
        found = [answer for answer in answers if answer is not None]
        if len(found) == len(new):
            return _once(found)
    raise TaskExists("unique_key", str(new[0].unique_key), task_id=new[0].task_id)


def _once(answers: list[Submitted]) -> list[Submitted]:
    """The same task_id twice in one call makes one task; only its first answer says that it was created."""
    seen: set[int] = set()
    told = []
    for answer in answers:
        told.append(Submitted(answer.id, answer.task_id, answer.status, answer.created and answer.id not in seen))
        seen.add(answer.id)
    return told


def _answer(task: NewTask, made: dict[str, int], standing: Sequence[Any]) -> Submitted | None:
    if task.task_id in made:
        return Submitted(made[task.task_id], task.task_id, Status.PENDING, True)
    for row in standing:
        if row.task_id == task.task_id:
            if row.request_hash != task.request_hash:
                raise TaskExists("task_id", task.task_id, task_id=row.task_id)
            return Submitted(row.id, row.task_id, Status(row.status), False)
    for row in standing:
        if task.unique_key is not None and row.unique_key == task.unique_key and row.status in ("pending", "running"):
            return Submitted(row.id, row.task_id, Status(row.status), False)
    return None


def _standing(conn: Connection, tasks_: Sequence[NewTask]) -> Sequence[Any]:
    if not tasks_:
        return []
    columns = select(_t.id, _t.task_id, _t.status, _t.request_hash, _t.unique_key)
    ids = [task.task_id for task in tasks_]
    keys = [task.unique_key for task in tasks_ if task.unique_key is not None]
    open_key = _t.unique_key.in_(keys) & _t.status.in_(["pending", "running"])
    return conn.execute(columns.where(or_(_t.task_id.in_(ids), open_key))).all()


def _row(task: NewTask) -> dict[str, Any]:
    return {name: getattr(task, name) for name in _GIVEN}


_GIVEN: dict[str, Any] = {
    "task_id": Name,
    "task_type": Name,
    "payload": Text(),
    "request_hash": Text(),
    "queue": Name,
    "priority": SmallInteger(),
    "run_at": UTCDateTime(),
    "delay": Float(53),
    "timeout": Float(53),
    "max_attempts": Integer(),
    "expires_at": UTCDateTime(),
    "unique_key": Name,
    "concurrency_key": Name,
    "parent_id": Id,
    "tags": Text(),
    "traceparent": Text(),
}


@cache
def _insert() -> Any:
    given = rowset("fresh", **_GIVEN).c
    values: dict[str, Any] = {name: given[name] for name in _GIVEN if name != "delay"}
    values |= {
        "payload": cast(given.payload, JsonText()),
        "tags": cast(given.tags, JsonText()),
        "run_at": func.coalesce(given.run_at, db_now(func.coalesce(given.delay, 0.0))),
        "created_at": db_now(),
    }
    source = select(*values.values()).where(true())  # WHERE: SQLite's parser needs it before ON CONFLICT
    return insert(tasks).from_select(list(values), source).on_conflict_do_nothing().returning(_t.id, _t.task_id)
