"""What an operation does to a handful of tasks: only to those that nobody else holds at this moment.

A row that somebody holds is not waited for: two who hold rows and wait for each other's would be a deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, bindparam, delete, insert, literal, select, update

from jobrunner.db.tables import tasks
from jobrunner.db.types import Id, Name, among, db_now, rowset
from jobrunner.errors import StateConflict
from jobrunner.queue.operation import OPEN_TO, Action
from jobrunner.queue.request import ALIKE, new_id
from jobrunner.queue.store.control import again, retry
from jobrunner.queue.task import Status

_t = tasks.c


@dataclass(frozen=True)
class Changed:
    """Row ids: ``seen`` were there for us, ``done`` are changed. ``ended``: task_ids of those that have ended by it."""

    seen: frozenset[int] = frozenset()
    done: frozenset[int] = frozenset()
    ended: tuple[str, ...] = ()
    asked: bool = False
    woke: bool = False


def _ours(conn: Connection, picked: Sequence[int], action: Action) -> Sequence[Any]:
    """Those of these that are still open to it, held until the transaction ends."""
    if not picked:
        return []
    found = (
        select(_t.id, _t.task_id, _t.status, _t.unique_key)
        .where(_among(), _t.status.in_(sorted(OPEN_TO[action])))
        .order_by(_t.id)
        .with_for_update(skip_locked=True)
    )
    return conn.execute(found, _wanted(picked)).all()


def _among() -> ColumnElement[bool]:
    return among(_t.id, select(rowset("picked", id=Id).c.id))


def _wanted(picked: Sequence[int]) -> dict[str, list[dict[str, int]]]:
    return {"picked": [{"id": number} for number in picked]}


def _cancel(conn: Connection, picked: Sequence[int], operation_id: str) -> Changed:
    rows = _ours(conn, picked, Action.CANCEL)
    waiting = [row for row in rows if row.status == Status.PENDING]
    running = [row.id for row in rows if row.status == Status.RUNNING]
    reason = f"cancelled by operation {operation_id}"
    if waiting:
        over = update(tasks).where(_among()).values(status=Status.CANCELLED, finished_at=db_now(), error=reason)
        conn.execute(over, _wanted([row.id for row in waiting]))
    if running:
        conn.execute(update(tasks).where(_among()).values(cancel_requested_at=db_now(), error=reason), _wanted(running))
    all_of_them = frozenset(row.id for row in rows)
    return Changed(all_of_them, all_of_them, tuple(row.task_id for row in waiting), asked=bool(running))


def _retry(conn: Connection, picked: Sequence[int], _operation_id: str) -> Changed:
    rows = _ours(conn, picked, Action.RETRY)
    free = [row.id for row in rows if row.unique_key is None]
    if free:
        conn.execute(update(tasks).where(_among()).values(again()), _wanted(free))
    done = set(free)
    for row in rows:
        if row.unique_key is not None:  # one by one: an open task may have the same
            try:
                retry(conn, row.task_id)
            except StateConflict:
                continue
            done.add(row.id)
    return Changed(frozenset(row.id for row in rows), frozenset(done), woke=bool(done))


def _delete(conn: Connection, picked: Sequence[int], _operation_id: str) -> Changed:
    rows = _ours(conn, picked, Action.DELETE)
    all_of_them = frozenset(row.id for row in rows)
    if rows:
        conn.execute(delete(tasks).where(_among()), _wanted(sorted(all_of_them)))
    return Changed(all_of_them, all_of_them)


def _rerun(conn: Connection, picked: Sequence[int], operation_id: str) -> Changed:
    """Add a task like each of these, without what names it or ends it early.

    The old ones are only read, so that none can be held: a walk that came back to one would add again what it added
    for those behind it. Their payloads stay in the database: 500 of 250 KB took 14 s by way of Python.
    """
    made = {new_id(): number for number in picked}
    given = {"made": [{"id": number, "task_id": task_id} for task_id, number in made.items()], "by": operation_id}
    added = conn.execute(_insert_alike(), given).scalars().all() if made else []
    return Changed(frozenset(picked), frozenset(made[task_id] for task_id in added), woke=bool(added))


@cache
def _insert_alike() -> Any:
    named = rowset("made", id=Id, task_id=Name).c
    kept = {name: _t[name] for name in ("task_type", "payload", "request_hash", *ALIKE)}
    by = literal("operation ") + bindparam("by", type_=Text())
    values = {"task_id": named.task_id, **kept, "run_at": db_now(), "created_at": db_now(), "submitted_by": by}
    ended = _t.status.in_(sorted(OPEN_TO[Action.RERUN]))
    alike = select(*values.values()).where(_t.id == named.id, ended).order_by(_t.id)
    return insert(tasks).from_select(list(values), alike).returning(tasks.c.task_id)


CHANGES: Mapping[Action, Callable[[Connection, Sequence[int], str], Changed]] = {
    Action.CANCEL: _cancel,
    Action.RETRY: _retry,
    Action.DELETE: _delete,
    Action.RERUN: _rerun,
}
