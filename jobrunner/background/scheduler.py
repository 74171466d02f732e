"""Fires due schedules. Needs no leader and no memory: the unique row (schedule, instant) is the guard."""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from jobrunner.background.cron import Cron, Every
from jobrunner.background.schedules import clock, task_options
from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable, JobrunnerError, TaskExists
from jobrunner.logs import get_logger
from jobrunner.queue import store, views
from jobrunner.queue.codec import clean_text
from jobrunner.settings.failpoints import hit
from jobrunner.submission import submit

MISSED_COUNTED = 10_000  # missed instants are counted up to here
ERROR_MAX_BYTES = 2_000

# The database's own trouble, which is no schedule's fault: the instant stays due.
_DATABASE = (DatabaseUnavailable, OperationalError, InterfaceError)

log = get_logger(__name__)


def fire_due(database: Database) -> int:
    """Submit the task of every schedule whose instant has come; each in a transaction of its own. Returns how many.

    Instants that passed while nothing ran collapse into the latest; how many were skipped stands in its firing. A
    schedule that cannot be fired is told so and moved on, and the others fire. Raises DatabaseUnavailable.
    """
    with database.read(own=True) as conn:
        due = store.due_schedules(conn)
        if not due:
            return 0
        moment = views.now(conn)
    fired = 0
    for row in due:
        try:
            with database.begin() as conn:
                done = _fire(conn, row, moment)
                hit("firing-before-commit")
        except DatabaseUnavailable:
            raise
        except Exception as error:
            log.exception("schedule cannot be fired", schedule=row.name)
            _pass_over(database, row, moment, error)
            continue
        fired += done
        hit("firing-after-commit")
    return fired


def _fire(conn: Connection, row: Any, moment: datetime) -> bool:
    try:
        ticking = clock(row.cron, row.every, row.timezone, row.anchor)
        latest, skipped = _latest(ticking, row.next_at, moment)
        next_at = ticking.next_after(moment)
    except Exception as unreadable:  # a zone that the tz database lost, say: the others must go on firing
        log.exception("schedule cannot be read", schedule=row.name)
        if store.advance(conn, row.name, seen=row.next_at, fired=row.fired_at, next_at=None):
            store.blame(conn, row.name, _told(unreadable))
        return False
    # First, since it holds the row: of two that look at the turn of an instant one would else count the other's firing
    # as skipped. It was fired or paused meanwhile, or its clock changed, where this fails.
    now = store.advance(conn, row.name, seen=row.next_at, fired=latest, next_at=next_at)
    if now is None:
        return False
    task_id = f"{row.name}@{latest:%Y-%m-%dT%H:%M:%SZ}"
    if not store.fire(conn, row.name, latest, task_id, skipped=skipped):
        return False
    try:
        error = _submit(conn, row.name, now, task_id)
    except TaskExists:  # somebody's request took this name, by mistake or not: the instant has its task all the same
        log.warning("task_id of a firing is taken", schedule=row.name, task_id=task_id)
        task_id = f"{task_id}.{secrets.token_hex(4)}"
        store.rename_firing(conn, row.name, latest, task_id)
        error = _submit(conn, row.name, now, task_id)
    if error is not None:
        store.blame(conn, row.name, error)
    log.info("schedule fired", schedule=row.name, task_id=task_id, skipped=skipped)
    return True


def _latest(ticking: Cron | Every, due: datetime, moment: datetime) -> tuple[datetime, int]:
    """The last instant that has come, and how many before it were missed; ``due`` is the first of them."""
    missed = ticking.due_between(due, moment, MISSED_COUNTED)
    return (missed[-1], len(missed)) if missed else (due, 0)


def _submit(conn: Connection, name: str, now: Any, task_id: str) -> str | None:
    """Submit in a savepoint: a task that is refused must not take the firing with it, or it would be tried for ever.

    Raises TaskExists where the task_id belongs to a different request.
    """
    try:
        with conn.begin_nested():
            submit(
                conn,
                now.task_type,
                json.loads(now.payload),
                allow_unknown=True,
                task_id=task_id,
                **task_options(now),
            )
    except (*_DATABASE, TaskExists):
        raise
    except JobrunnerError as error:
        log.error("schedule's task is refused", schedule=name, task_id=task_id, error=_told(error))
        return _told(error)
    except Exception as error:  # the type's own validator may raise anything
        log.exception("schedule's task cannot be checked", schedule=name, task_id=task_id)
        return _told(error)
    return None


def _pass_over(database: Database, row: Any, moment: datetime, error: Exception) -> None:
    """Move a schedule on that could not be fired, so that it is not the first to be tried at every tick."""
    try:
        with database.begin() as conn:
            next_at = clock(row.cron, row.every, row.timezone, row.anchor).next_after(moment)
            if store.advance(conn, row.name, seen=row.next_at, fired=row.fired_at, next_at=next_at):
                store.blame(conn, row.name, _told(error))
    except DatabaseUnavailable:
        raise
    except Exception:
        log.exception("schedule cannot be moved on", schedule=row.name)


def _told(error: Exception) -> str:
    said = clean_text(error, ERROR_MAX_BYTES)
    return said if isinstance(error, JobrunnerError) else f"{type(error).__name__}: {said}"
