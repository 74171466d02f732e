"""Changes to some of a schedule, beside each other and beside its firings."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update

from jobrunner.background import schedules
from jobrunner.background.scheduler import fire_due
from jobrunner.db.engine import Database
from jobrunner.db.tables import schedules as rows
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.errors import InvalidInput, ScheduleNotFound
from jobrunner.queue import store, views
from jobrunner.queue.views import ScheduleView

BEAT = {"every": 3_600, "task_type": "ping", "payload": {"a": 1, "b": 1}}
YEARLY = "30 17 1 1 *"


@pytest.fixture(autouse=True)
def beat(database: Database) -> None:
    with database.begin() as conn:
        schedules.save(conn, "beat", **BEAT, allow_unknown=True)  # type: ignore[arg-type]  # of several kinds


def _edit(database: Database, **changes: Any) -> ScheduleView:
    with database.begin() as conn:
        return schedules.edit(conn, "beat", changes)


def _known(database: Database) -> ScheduleView:
    with database.read() as conn:
        found = views.schedule(conn, "beat")
    assert found is not None
    return found


def _beside(database: Database, first: Callable[[Any], object], second: Callable[[Any], object], *then: Any) -> None:
    """``second`` begins in the middle of ``first``, which then does more, and waits for its end."""
    begun = threading.Event()

    def other() -> None:
        begun.set()
        with database.begin() as conn:
            second(conn)

    with ThreadPoolExecutor(1) as pool:
        with database.begin() as conn:
            first(conn)
            waiting = pool.submit(other)
            assert begun.wait(15)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            for more in then:
                more(conn)
        waiting.result(timeout=15)


def test_files_that_name_schedules_in_another_order_hold_up_nobody(database: Database) -> None:
    one, two = ({"name": name, "every": 60, "task_type": "ping"} for name in ("one", "two"))
    with database.begin() as conn:
        schedules.declare(conn, [one, two])
    _beside(
        database,
        lambda conn: schedules.declare(conn, [one]),
        lambda conn: schedules.declare(conn, [two, one]),
        lambda conn: schedules.declare(conn, [two]),
    )


def test_two_changes_at_a_time_both_count(database: Database) -> None:
    _beside(
        database,
        lambda conn: schedules.edit(conn, "beat", {"timeout": 7.0, "arguments": {"a": 2}}),
        lambda conn: schedules.edit(conn, "beat", {"priority": 1, "arguments": {"c": 2}}),
    )
    found = _known(database)
    assert (found.priority, found.timeout, found.payload) == (1, 7.0, {"a": 2, "b": 1, "c": 2})


def test_who_resumes_beside_a_change_goes_by_the_new_clock(database: Database) -> None:
    with database.begin() as conn:
        schedules.pause(conn, "beat")
    _beside(
        database,
        lambda conn: schedules.edit(conn, "beat", {"cron": YEARLY}),
        lambda conn: schedules.resume(conn, "beat"),
    )
    found = _known(database)
    assert found.next_at is not None
    assert (found.paused, f"{found.next_at:%m-%d %H:%M}") == (False, "01-01 17:30")


def test_who_replaces_one_beside_its_resuming_does_not_stop_it(database: Database) -> None:
    with database.begin() as conn:
        schedules.pause(conn, "beat")
    _beside(
        database,
        lambda conn: schedules.resume(conn, "beat"),
        lambda conn: schedules.save(conn, "beat", **BEAT, allow_unknown=True),  # type: ignore[arg-type]  # of several kinds
    )
    found = _known(database)
    assert (found.paused, found.next_at is not None) == (False, True)


def test_what_was_changed_before_it_fires_is_what_fires(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.begin() as conn:
        conn.execute(update(rows).values(next_at=db_now(-1)))
    look = store.due_schedules

    def looked(conn: Any) -> Any:
        found = look(conn)
        _edit(database, task_data={"n": 2}, queue="slow", priority=1, max_attempts=9)
        return found

    monkeypatch.setattr(store, "due_schedules", looked)
    assert fire_due(database) == 1
    assert fire_due(database) == 0, "and none fires twice"
    with database.read() as conn:
        columns = tasks.c.queue, tasks.c.priority, tasks.c.max_attempts, tasks.c.payload
        [(*options, payload)] = conn.execute(select(*columns)).all()
    assert (options, json.loads(payload)) == (["slow", 1, 9], {"n": 2})


def test_a_change_keeps_what_it_does_not_name(database: Database) -> None:
    entry = {"name": "beat", "every": 3_600, "task_type": "ping", "task_data": {"a": 1}, "timeout": 9}
    with database.begin() as conn:
        schedules.declare(conn, [entry])
    before = _known(database)
    assert _edit(database) == before
    assert before.declared, "of a type that no worker published yet"
    moved = _edit(database, timezone="Asia/Shanghai")
    assert (moved.anchor, moved.next_at) == (before.anchor, before.next_at), "an interval is the same in every zone"
    with database.begin() as conn:
        schedules.pause(conn, "beat")
    changed = _edit(database, cron=YEARLY)
    assert (changed.paused, changed.next_at, changed.timezone) == (True, None, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "other"}, "/name: unknown key"),
        ({"declared": True, "payload": {}}, "/declared: unknown key; /payload: unknown key"),
        ({"task_data": None}, "/task_data: must be an object"),
        ({"arguments": [1]}, "/arguments: must be an object"),
        ({"timezone": "X/Y"}, "/timezone: there is no time zone"),
        ({"task_type": "other"}, "no worker ever published 'other'"),
    ],
)
def test_what_cannot_be_changed_so(database: Database, changes: dict[str, Any], told: str) -> None:
    before = _known(database)
    with pytest.raises(InvalidInput, match=told):
        _edit(database, **changes)
    assert _known(database) == before


def test_one_that_is_not_there(database: Database) -> None:
    with pytest.raises(ScheduleNotFound), database.begin() as conn:
        schedules.edit(conn, "nobody", {"every": 60})
