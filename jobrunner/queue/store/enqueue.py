"""-> pending: the only way into the queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import chain, islice
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Float,
    Integer,
    SmallInteger,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert

from jobrunner.db import direct, stream
from jobrunner.db.notes import Notes, beside, bound
from jobrunner.db.tables import tasks
from jobrunner.db.types import Id, JsonText, Name, UTCDateTime, among, db_now, rowset
from jobrunner.errors import TaskExists
from jobrunner.queue.task import NewTask, Status

_t = tasks.c

FEW = 32  # tasks, up to which one INSERT is quicker than the round trips that a stream takes


class Submitted(NamedTuple):
    """A task that stands in the queue. ``created`` is False where an earlier, equal request made it."""

    task_id: str
    status: Status
    created: bool


def enqueue(conn: Connection, new: NewTask, *, notes: Notes | None = None) -> Submitted:
    """Add one task in the caller's transaction; see :func:`enqueue_many`.

    ``notes`` (PostgreSQL) are told where this added it, as soon as that is committed; for who does so seldom.
    """
    given = new._asdict()
    if notes is None:
        added = direct.execute(conn, _insert_one(), given)
    else:
        added = len(direct.fetch(conn, _insert_one_and_tell(), {**given, **bound(notes)}))
    return Submitted(new.task_id, Status.PENDING, True) if added == 1 else _insert_all(conn, [new])[0]


def enqueue_many(conn: Connection, new: Iterable[NewTask], *, fresh: bool = False) -> list[Submitted]:
    """Add tasks in the caller's transaction; one answer each, in order.

    A task_id that is taken by an equal request, or a unique_key that an open task has, answers with that task.
    Raises TaskExists (and adds nothing, once the caller rolls back) where a task_id belongs to a different request.

    ``fresh`` tells that none of them can meet another: each has a ``new_id`` and no unique_key. Many such are stored
    while ``new`` makes them, all or none, and nothing else may be asked of ``conn`` meanwhile.
    """
    coming = iter(new)
    first = list(islice(coming, FEW + 1))
    if fresh and len(first) > FEW and stream.can_append(conn):
        return _stream(conn, chain(first, coming))
    asked = [*first, *coming]
    if len(asked) == 1:
        return [enqueue(conn, asked[0])]
    return _insert_all(conn, asked) if asked else []


def _stream(conn: Connection, new: Iterable[NewTask]) -> list[Submitted]:
    made: list[str] = []
    stream.append(conn, tasks, _STREAMED, lambda moment: _rows(conn, moment, new, made))
    return [Submitted(task_id, Status.PENDING, True) for task_id in made]


def _rows(conn: Connection, moment: datetime, new: Iterable[NewTask], made: list[str]) -> Iterator[stream.Row]:
    now = stream.instant(conn, moment)
    asked: tuple[Any, ...] = ()
    rest: tuple[Any, ...] = ()
    for task in new:
        if task[4:] != asked:
            asked, rest = task[4:], _rest(conn, task, moment, now)
        made.append(task[0])
        yield task[:4], rest


def _rest(conn: Connection, task: NewTask, moment: datetime, now: Any) -> tuple[Any, ...]:
    """What stands behind the first four columns."""
    due = now
    if task.run_at is not None:
        due = stream.instant(conn, task.run_at)
    elif task.delay is not None:
        due = stream.instant(conn, moment + timedelta(seconds=task.delay))
    expires = None if task.expires_at is None else stream.instant(conn, task.expires_at)
    return task.queue, task.priority, due, task.timeout, task.max_attempts, expires, *task[11:], now


def _insert_all(conn: Connection, asked: Sequence[NewTask]) -> list[Submitted]:
    made: set[str] = set()
    for _ in range(3):  # again only where what stood in the way of one was pruned or ended between our two looks
        fresh = [task._asdict() for task in asked if task.task_id not in made]
        made |= {row.task_id for row in conn.execute(_insert(), {"fresh": fresh})}
        found = _answers(conn, asked, made)
        if found is not None:
            return found
    raise TaskExists("unique_key", str(asked[0].unique_key), task_id=asked[0].task_id)


def _answers(conn: Connection, new: Sequence[NewTask], made: set[str]) -> list[Submitted] | None:
    """One answer each; None where one that was not made meets nothing any more either."""
    hashes: dict[str, str] = {}
    by_id, by_key = _standing(conn, [task for task in new if task.task_id not in made])
    told = []
    for task in new:
        if task.task_id in made:
            # The same task_id twice in one call makes one task; only its first answer says that it was created.
            created = task.task_id not in hashes
            if hashes.setdefault(task.task_id, task.request_hash) != task.request_hash:
                raise TaskExists("task_id", task.task_id, task_id=task.task_id)
            told.append(Submitted(task.task_id, Status.PENDING, created))
            continue
        row = by_id.get(task.task_id)
        if row is not None and row.request_hash != task.request_hash:
            raise TaskExists("task_id", task.task_id, task_id=row.task_id)
        row = row or by_key.get(task.unique_key)
        if row is None:
            return None
        told.append(Submitted(row.task_id, Status(row.status), False))
    return told


def _standing(conn: Connection, unmade: Sequence[NewTask]) -> tuple[dict[str, Any], dict[str | None, Any]]:
    """What stands in the way of these: tasks by their task_id, and open ones by their unique_key."""
    if not unmade:
        return {}, {}
    wanted = [{"task_id": task.task_id, "unique_key": task.unique_key} for task in unmade]
    rows = conn.execute(_find(), {"wanted": wanted}).all()
    return {row.task_id: row for row in rows if row.by_id}, {row.unique_key: row for row in rows if not row.by_id}


@cache
def _find() -> Any:
    # Not a join: SQLite would go through all tasks for each one that is wanted. What the index on open
    # keys demands stands in the text, also that a key is not NULL: no plan could use it otherwise.
    wanted = rowset("wanted", task_id=Name, unique_key=Name).c
    columns = (_t.task_id, _t.status, _t.request_hash, _t.unique_key)
    is_open = _t.status.in_([literal_column("'pending'"), literal_column("'running'")])
    same_id = among(_t.task_id, select(wanted.task_id))
    same_key = among(_t.unique_key, select(wanted.unique_key).where(wanted.unique_key.is_not(None)))
    return union_all(
        select(*columns, literal_column("1").label("by_id")).where(same_id),
        select(*columns, literal_column("0").label("by_id")).where(same_key, _t.unique_key.is_not(None), is_open),
    )


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
    "submitted_by": Text(),
}
"""The fields of NewTask, in their order."""

_STREAMED = (*(name for name in _GIVEN if name != "delay"), "created_at")


def _columns(given: Any) -> dict[str, Any]:
    values: dict[str, Any] = {name: given[name] for name in _GIVEN if name != "delay"}
    return values | {
        "payload": cast(given["payload"], JsonText()),
        "tags": cast(given["tags"], JsonText()),
        "run_at": func.coalesce(given["run_at"], db_now(func.coalesce(given["delay"], literal_column("0")))),
        "created_at": db_now(),
    }


@cache
def _insert() -> Any:
    values = _columns(rowset("fresh", **_GIVEN).c)
    source = select(*values.values()).where(true())  # WHERE: SQLite's parser needs it before ON CONFLICT
    return insert(tasks).from_select(list(values), source).on_conflict_do_nothing().returning(_t.task_id)


@cache
def _insert_one() -> Any:
    given = {name: bindparam(name, type_=kind) for name, kind in _GIVEN.items()}
    return insert(tasks).values(_columns(given)).inline().on_conflict_do_nothing()


@cache
def _insert_one_and_tell() -> Any:
    return beside(_insert_one().returning(_t.id))
