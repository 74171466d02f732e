"""running -> completed, failed, cancelled, or back to pending: the end of an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Float, Integer, Text, and_, case, cast, func, null, update

from jobrunner.db import direct
from jobrunner.db.notes import Notes, beside, bound
from jobrunner.db.tables import tasks
from jobrunner.db.types import Id, JsonText, db_now, rowtable
from jobrunner.queue.store.attempts import ended
from jobrunner.queue.store.lease import held_rows
from jobrunner.queue.task import Ending, Lease, Outcome, Status, Task
from jobrunner.queue.verdict import decide

_t = tasks.c
_COUNTERS = ("failures", "crashes", "releases", "snoozes")


class Settled(NamedTuple):
    """What became of one settlement. ``status`` is None where it was refused: the attempt no longer owned its task."""

    lease: Lease
    status: Status | None

    @property
    def accepted(self) -> bool:
        """Whether the write took place."""
        return self.status is not None


def settle(
    conn: Connection, settlements: Sequence[tuple[Task, Outcome]], *, notes: Notes | None = None
) -> list[Settled]:
    """End attempts, in one statement, only where id, token and ``running`` still match; tells each one's fate.

    A task whose cancel was requested before this commit ends as cancelled, even if its handler came to an end.
    ``notes`` (PostgreSQL) are told as soon as that is committed.
    """
    if not settlements:
        return []
    unwell = [one for one in settlements if one[1].ending is not Ending.COMPLETED]
    given: dict[str, Any] = {"outcomes": [_row(task, outcome) for task, outcome in settlements]}
    if notes is not None:
        given |= bound(notes)
    found = direct.fetch(conn, _statement(well=not unwell, tells=notes is not None), given)
    # By attempt as well: of a task that was lost and claimed again here, both ends may come in one batch.
    done = {(row[0], row[2]): _STATUSES[row[1]] for row in found}
    ended(conn, [_attempt(task, outcome) for task, outcome in unwell if _key(task) in done])
    return [Settled(task.lease, done.get(_key(task))) for task, _ in settlements]


def _key(task: Task) -> tuple[int, int]:
    return task.lease.id, task.lease.attempt


_STATUSES = {status.value: status for status in Status}  # a look-up costs a tenth of Status(...)


def _row(task: Task, outcome: Outcome) -> dict[str, Any]:
    """Only what differs from nothing: of most tasks that is their result."""
    lease = task.lease
    if outcome.ending is Ending.COMPLETED:
        return {"id": lease.id, "token": lease.token, "status": "completed", "result": outcome.result}
    verdict = decide(task, outcome)
    row: dict[str, Any] = {
        "id": lease.id,
        "token": lease.token,
        "status": verdict.status,
        "delay": verdict.delay,
        "error": verdict.error,
    }
    if verdict.counted is not None:
        row[verdict.counted] = 1
    return row


def _attempt(task: Task, outcome: Outcome) -> dict[str, Any]:
    return {
        "id": task.lease.id,
        "outcome": outcome.ending,
        "error_class": outcome.error_class,
        "error": outcome.error,
        "traceback": outcome.traceback,
        "exit_signal": outcome.exit_signal,
        "exit_code": outcome.exit_code,
        "peak_rss": outcome.peak_rss,
    }


@cache
def _statement(*, well: bool, tells: bool) -> Any:
    """``well`` where all completed: a statement of half the columns, that moves no task to another moment."""
    kinds: dict[str, Any] = {"id": Id, "token": Text(), "status": Text(), "result": Text()}
    if not well:
        kinds |= {"delay": Float(53), "error": Text(), **{counter: Integer() for counter in _COUNTERS}}
    rows = rowtable("outcomes", **kinds)
    told = rows.c
    asked = _t.cancel_requested_at.is_not(None)
    values: dict[str, Any] = {
        "status": case((asked, Status.CANCELLED), else_=told.status),
        "token": null(),
        "lease_until": null(),
        "finished_at": db_now(),
        "result": case((asked, null()), else_=cast(told.result, JsonText())),
        "error": case((asked, _t.error), else_=null()),  # where asked, it holds the cancel's reason
        "progress": case((asked, _t.progress), else_=1.0),
    }
    if not well:
        again = and_(~asked, told.status == Status.PENDING)
        values |= {
            "run_at": case((again, db_now(func.coalesce(told.delay, 0.0))), else_=_t.run_at),
            "finished_at": case((again, null()), else_=db_now()),
            "error": case((asked, _t.error), else_=told.error),
            "progress": case((and_(~asked, told.status == Status.COMPLETED), 1.0), else_=_t.progress),
            **{counter: _t[counter] + func.coalesce(told[counter], 0) for counter in _COUNTERS},
        }
    statement = update(tasks).where(*held_rows(rows)).values(values).returning(_t.id, _t.status, _t.attempt)
    return beside(statement) if tells else statement
