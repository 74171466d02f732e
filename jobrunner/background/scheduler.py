"""Fires due schedules. Needs no leader and no memory: the unique row (schedule, instant) is the guard."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobrunner.background.cron import Cron, Every
from jobrunner.background.schedules import clock, task_options
from jobrunner.db.engine import Database
from jobrunner.errors import JobrunnerError
from jobrunner.logs import get_logger
from jobrunner.queue import store, views
from jobrunner.settings.failpoints import hit
from jobrunner.submission import submit

MISSED_COUNTED = 10_000  # missed instants are counted up to here

log = get_logger(__name__)


def fire_due(database: Database) -> int:
    """Submit the task of every schedule whose instant has come; each in a transaction of its own. Returns how many.

    Instants that passed while nothing ran collapse into the latest; how many were skipped stands in its firing.
    """
    with database.read() as conn:
        due = store.due_schedules(conn)
        if not due:
            return 0
        moment = views.now(conn)
    fired = 0
    for row in due:
        with database.begin() as conn:
            fired += _fire(conn, row, moment)
            hit("firing-before-commit")
        hit("firing-after-commit")
    return fired


def _fire(conn: Connection, row: Any, moment: datetime) -> bool:
    try:
        ticking = clock(row.cron, row.every, row.timezone, row.anchor)
    except JobrunnerError as unreadable:  # a zone that the tz database lost, say: the others must go on firing
        log.error("schedule cannot be read", schedule=row.name, error=str(unreadable))
        store.advance(conn, row.name, seen=row.next_at, fired=row.fired_at, next_at=None)
        store.blame(conn, row.name, str(unreadable))
        return False
    latest, skipped = _latest(ticking, row.next_at, moment)
    # First, since it holds the row: of two that look at the turn of an instant one would else count the other's firing
    # as skipped. It was fired, paused or changed meanwhile where this fails.
    if not store.advance(conn, row.name, seen=row.next_at, fired=latest, next_at=ticking.next_after(moment)):
        return False
    task_id = f"{row.name}@{latest:%Y-%m-%dT%H:%M:%SZ}"
    if not store.fire(conn, row.name, latest, task_id, skipped=skipped):
        return False
    error = _submit(conn, row, task_id)
    if error is not None:
        store.blame(conn, row.name, error)
    log.info("schedule fired", schedule=row.name, task_id=task_id, skipped=skipped)
    return True


def _latest(ticking: Cron | Every, due: datetime, moment: datetime) -> tuple[datetime, int]:
    """The last instant that has come, and how many before it were missed; ``due`` is the first of them."""
    missed = ticking.due_between(due, moment, MISSED_COUNTED)
    return (missed[-1], len(missed)) if missed else (due, 0)


def _submit(conn: Connection, row: Any, task_id: str) -> str | None:
    """Submit in a savepoint: a task that is refused must not take the firing with it, or it would be tried for ever."""
    try:
        with conn.begin_nested():
            submit(
                conn,
                row.task_type,
                json.loads(row.payload),
                allow_unknown=True,
                task_id=task_id,
                **task_options(row),
            )
    except JobrunnerError as error:
        log.error("schedule's task is refused", schedule=row.name, task_id=task_id, error=str(error))
        return str(error)
    return None
