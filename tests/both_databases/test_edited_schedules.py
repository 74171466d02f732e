"""Changes to some of a schedule, beside each other and beside its firings."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from jobrunner.background import schedules
from jobrunner.background.scheduler import fire_due
from jobrunner.db.engine import Database
from jobrunner.db.tables import schedules as rows
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.errors import ScheduleNotFound
from jobrunner.queue import views


def _add(database: Database) -> None:
    with database.begin() as conn:
        schedules.save(conn, "beat", every=3_600, task_type="ping", payload={"n": 1}, allow_unknown=True)


def test_two_changes_at_a_time_both_count(database: Database) -> None:
    _add(database)

    def second() -> None:
        with database.begin() as conn:
            schedules.edit(conn, "beat", {"priority": 1}, allow_unknown=True)

    with ThreadPoolExecutor(1) as pool:
        with database.begin() as conn:
            schedules.edit(conn, "beat", {"timeout": 7.0}, allow_unknown=True)
            waiting = pool.submit(second)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
        waiting.result(timeout=15)
    with database.read() as conn:
        found = views.schedule(conn, "beat")
    assert found is not None
    assert (found.priority, found.timeout, found.payload) == (1, 7.0, {"n": 1})


def test_a_change_of_what_runs_counts_from_the_next_instant_and_fires_none_twice(database: Database) -> None:
    _add(database)
    with database.begin() as conn:
        conn.execute(update(rows).values(next_at=db_now(-1)))
        schedules.edit(conn, "beat", {"payload": {"n": 2}, "queue": "slow"}, allow_unknown=True)
    fire_due(database)
    fire_due(database)
    with database.begin() as conn:
        schedules.edit(conn, "beat", {"payload": {"n": 3}}, allow_unknown=True)
    fire_due(database)
    with database.read() as conn:
        [(queue, payload)] = conn.execute(select(tasks.c.queue, tasks.c.payload)).all()
    assert (queue, json.loads(payload)) == ("slow", {"n": 2})


def test_one_that_is_not_there(database: Database) -> None:
    with pytest.raises(ScheduleNotFound), database.begin() as conn:
        schedules.edit(conn, "nobody", {"every": 60})
