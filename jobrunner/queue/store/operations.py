"""Operations: begun, carried on one step at a time by whoever comes, aborted."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, func, insert, literal_column, select, update

from jobrunner.db.tables import operations, tasks
from jobrunner.db.types import Name, among, db_now, rowset
from jobrunner.queue.codec import clean_text
from jobrunner.queue.operation import COUNT_MOST, OPEN_TO, Action
from jobrunner.queue.request import new_id
from jobrunner.queue.store.chosen import Chosen, chosen_from
from jobrunner.queue.store.many import CHANGES
from jobrunner.queue.views.lists import conditions

_t = tasks.c
_o = operations.c
STEP = 500  # tasks that one step changes at most
ROWS_PER_TASK = 20  # that it looks through at most for each of these, where few rows fit
ERROR_LONGEST = 500  # characters

_RUNNING = _o.state == literal_column("'running'")  # spelled out, so that its index serves


@dataclass(frozen=True)
class Step:
    """What one step of an operation came to.

    ``ended`` are the ids of tasks that have ended by it; ``asked`` tells that running ones were asked to, ``woke`` that
    some wait again. ``held`` are row ids that somebody else held: the next step begins with them.
    """

    operation_id: str
    done: bool
    ended: tuple[str, ...] = ()
    asked: bool = False
    woke: bool = False
    held: tuple[int, ...] = ()


def begin_operation(
    conn: Connection, action: Action, chosen: Chosen, *, queues: Collection[str] | None, dry_run: bool, by: str
) -> str:
    """Begin one, for the tasks that there are now; returns its id. ``queues`` are the only ones that it touches."""
    operation_id = new_id()
    newest = select(func.max(_t.id)).scalar_subquery()
    conn.execute(
        insert(operations).values(
            id=operation_id,
            action=action,
            chosen=chosen.spelled(),
            queues=None if queues is None else json.dumps(sorted(queues)),
            dry_run=dry_run,
            upto=newest,
            created_by=by,
            created_at=db_now(),
        )
    )
    return operation_id


def abort_operation(conn: Connection, operation_id: str) -> None:
    """End one before its end, where it has not ended: what it changed stays so."""
    mine = (_o.id == operation_id, _RUNNING)
    conn.execute(update(operations).where(*mine).values(state="aborted", ended_at=db_now()))


def next_operation(conn: Connection, *, but: Collection[str] = ()) -> str | None:
    """The oldest running operation that nobody is at, ``but`` none of these."""
    found = select(_o.id).where(_RUNNING, _o.id.not_in(sorted(but))).order_by(_o.created_at).limit(1)
    return conn.execute(found.with_for_update(skip_locked=True)).scalar()


def note_failure(conn: Connection, operation_id: str, error: str) -> None:
    """Keep with a running operation what a step failed with, until one succeeds."""
    mine = select(_o.chosen).where(_o.id == operation_id, _RUNNING).with_for_update(skip_locked=True)
    spelled = conn.execute(mine).scalar()
    if spelled is not None:
        chosen = json.dumps({**json.loads(spelled), "error": clean_text(error, ERROR_LONGEST)})
        conn.execute(update(operations).where(_o.id == operation_id).values(chosen=chosen))


def step_operation(
    conn: Connection,
    operation_id: str | None = None,
    *,
    step: int = STEP,
    window: int | None = None,
    pass_held: bool = False,
) -> Step | None:
    """Take one step of a running operation (or of this one): None where there is none, or others are at it.

    It walks over the tasks in the order of their row ids, and changes ``step`` of them at most, of ``window`` that it
    looks through. ``pass_held`` counts what somebody else holds as unchanged, and goes on; else the next step begins
    there.
    """
    operation_id = operation_id or next_operation(conn)
    mine = select(operations).where(_RUNNING, _o.id == operation_id)
    row = conn.execute(mine.with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    queues = None if row.queues is None else frozenset(json.loads(row.queues))
    walk = _Walk(row, chosen_from(row.chosen, queues))
    seen = walk.look(conn, window or step * ROWS_PER_TASK)
    if row.dry_run:
        return _count(conn, row, walk, seen)
    picked = walk.pick(conn, seen.last, step)
    changed = CHANGES[walk.action](conn, picked, row.id)
    held = [] if pass_held else sorted(set(picked) - changed.seen)
    after = held[0] - 1 if held else picked[-1] if len(picked) == step else seen.last
    done = not held and len(picked) < step and seen.all
    unchanged = [number for number in picked if number <= after and number not in changed.done]
    values: dict[str, Any] = {
        "after": max(after, row.after),
        "matched": _o.matched + len(changed.done) + len(unchanged),
        "changed": _o.changed + len(changed.done),
        "unchanged": _o.unchanged + len(unchanged),
    }
    if done:
        values |= _ended(walk, row, len(changed.done) + len(unchanged))
    chosen = json.loads(row.chosen)
    if chosen.pop("error", None) is not None:
        values["chosen"] = json.dumps(chosen)
    conn.execute(update(operations).where(_o.id == row.id).values(values))
    return Step(row.id, done, changed.ended, changed.asked, changed.woke, tuple(held))


def _ended(walk: _Walk, row: Row[Any], more: int) -> dict[str, Any]:
    """The end; of ids that were named, those that no step met are unchanged as well."""
    values: dict[str, Any] = {"state": "done", "ended_at": db_now()}
    if walk.chosen.ids is not None:
        unmet = len(set(walk.chosen.ids)) - row.matched - more
        values["unchanged"] = row.unchanged + unmet
    return values


def _count(conn: Connection, row: Row[Any], walk: _Walk, seen: _Seen) -> Step:
    """A step of a dry run: it counts, up to ``COUNT_MOST``."""
    found = select(func.count()).select_from(tasks).where(*walk.fits, _t.id <= seen.last)
    matched = row.matched + conn.execute(found, walk.named).scalar_one()
    done = seen.all or matched >= COUNT_MOST
    values = {"after": max(seen.last, row.after), "matched": min(matched, COUNT_MOST)}
    ended = {"state": "done", "ended_at": db_now()} if done else {}
    conn.execute(update(operations).where(_o.id == row.id).values(**values, **ended))
    return Step(row.id, done)


class _Seen(NamedTuple):
    """How far a look went: to which row id, and whether that is all there is."""

    last: int
    all: bool


class _Walk:
    """One step's way: what it may meet behind where the last one ended."""

    def __init__(self, row: Row[Any], chosen: Chosen) -> None:
        self.action = action = Action(row.action)
        self.chosen = chosen
        self._here: tuple[ColumnElement[Any], ...] = (_t.id > row.after, _t.id <= (row.upto or 0))
        self.named: dict[str, Any] = {}
        if chosen.ids is not None:
            self.named = {"named": [{"task_id": task_id} for task_id in chosen.ids]}
            self._here += (among(_t.task_id, select(rowset("named", task_id=Name).c.task_id)),)
        assert chosen.filter is not None
        open_to: list[ColumnElement[str]] = [literal_column(f"'{status}'") for status in sorted(OPEN_TO[action])]
        self.fits = (*self._here, *conditions(chosen.filter), _t.status.in_(open_to))
        if action is Action.CANCEL:
            self.fits += (_t.cancel_requested_at.is_(None),)
        else:
            # While one task is held, the walk meets those behind it again: what has failed anew was retried before.
            self.fits += (_t.finished_at <= row.created_at,)

    def look(self, conn: Connection, window: int) -> _Seen:
        """How far this step may look."""
        some = select(_t.id).where(*self._here).order_by(_t.id).limit(window).subquery()
        count, last = conn.execute(select(func.count(), func.max(some.c.id)), self.named).one()
        return _Seen(last or 0, count < window)

    def pick(self, conn: Connection, last: int, limit: int) -> list[int]:
        """The row ids of tasks that fit, in their order."""
        found = select(_t.id).where(*self.fits, _t.id <= last).order_by(_t.id).limit(limit)
        return list(conn.execute(found, self.named).scalars())
