"""The look of the duties: what is due is found and done, and what is not due costs one statement."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from jobrunner.background import schedules, tending
from jobrunner.background.tending import LATE, LOOK_EVERY, SPREAD, Tending
from jobrunner.db.engine import Database
from jobrunner.db.tables import schedules as table
from jobrunner.db.types import db_now
from jobrunner.queue import views
from tests.both_databases.moves import add, age_lease, row, take

LEASE, BEAT = 30.0, 10.0


def _tending(database: Database, woken: list[str] | None = None) -> Tending:
    heard = [] if woken is None else woken
    return Tending(database, lambda: heard.append("woken"), lease_seconds=LEASE, heartbeat_interval=BEAT)


def _tend(database: Database, woken: list[str] | None = None) -> float:
    return _tending(database, woken).look()


def _dear(database: Database, monkeypatch: pytest.MonkeyPatch) -> Tending:
    """Somebody runs a task, and the one full look that there will be has found nothing."""
    monkeypatch.setattr(tending, "FULL_SHARE", 1e9)
    add(database, task_id="t")
    take(database)
    duties = _tending(database)
    duties.look()
    return duties


def _schedule(database: Database, seconds_ago: float, **wish: Any) -> None:
    with database.begin() as conn:
        schedules.save(conn, "s", task_type="work", allow_unknown=True, every=60.0, **wish)
        conn.execute(update(table).values(anchor=db_now(-seconds_ago - 60), next_at=db_now(-seconds_ago)))


def _look(database: Database) -> views.Due:
    with database.read() as conn:
        return views.due(conn)


def test_nothing_is_due(database: Database) -> None:
    add(database, task_id="waits")
    take(database)
    add(database, task_id="waits too")
    look = _look(database)
    assert look == views.Due(firing_in=None, stale=False, expired=False, now=look.now)


def test_an_idle_look_is_one_statement(database: Database) -> None:
    sent: list[str] = []
    with database.read(own=True) as conn:
        reader = conn.engine
    event.listen(reader, "before_cursor_execute", lambda *told: sent.append(told[2]))
    woken: list[str] = []
    assert _tend(database, woken) == LOOK_EVERY
    assert [statement.split()[0] for statement in sent if statement != "BEGIN"] == ["SELECT"]
    assert woken == []


def test_a_due_schedule_fires_and_wakes(database: Database) -> None:
    _schedule(database, seconds_ago=1)
    woken: list[str] = []
    _tend(database, woken)
    assert woken == ["woken"]
    assert len(take(database)) == 1
    _tend(database, woken)
    assert woken == ["woken"], "nothing new was made"


def test_the_next_look_comes_with_the_next_instant(database: Database) -> None:
    _schedule(database, seconds_ago=-0.5)
    assert 0 < _tend(database) <= 0.5 + SPREAD
    _schedule(database, seconds_ago=-100)
    assert _tend(database) == LOOK_EVERY
    _schedule(database, seconds_ago=-0.5)
    with database.begin() as conn:
        schedules.pause(conn, "s")
    assert _tend(database) == LOOK_EVERY
    assert _look(database).firing_in is None


def test_a_stale_lease_is_taken_back_and_wakes(grown_up: Database) -> None:
    add(grown_up, task_id="t")
    take(grown_up)
    age_lease(grown_up, "t", 100)
    woken: list[str] = []
    _tend(grown_up, woken)
    assert (row(grown_up, "t").status, woken) == ("pending", ["woken"])


def test_who_fires_no_schedules_does_all_else(grown_up: Database) -> None:
    _schedule(grown_up, seconds_ago=1)
    add(grown_up, task_id="t")
    take(grown_up)
    age_lease(grown_up, "t", 100)
    woken: list[str] = []
    look = Tending(
        grown_up, lambda: woken.append("woken"), lease_seconds=LEASE, heartbeat_interval=BEAT, fires=False
    ).look
    assert look() == LOOK_EVERY
    assert (row(grown_up, "t").status, woken) == ("pending", ["woken"])
    assert [task.task_id for task in take(grown_up)] == ["t"], "the schedule is left to others"
    _schedule(grown_up, seconds_ago=-0.5)
    assert look() == LOOK_EVERY, "there is nothing to come back for"


def test_where_a_full_look_is_dear_short_ones_find_what_runs_out(
    grown_up: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They begin where the last one found nothing; what was committed late under an older time waits for a full one."""
    duties = _dear(grown_up, monkeypatch)
    age_lease(grown_up, "t", 100)
    duties.look()
    assert row(grown_up, "t").status == "running"
    age_lease(grown_up, "t", LATE / 2)
    duties.look()
    assert row(grown_up, "t").status == "pending"

    take(grown_up)
    age_lease(grown_up, "t", 100)
    monkeypatch.setattr(duties, "_full_at", 0.0)
    duties.look()
    assert row(grown_up, "t").status == "pending"


def test_what_ran_out_while_nobody_could_judge_is_taken_back_later(
    grown_up: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "LATE", 0.0)
    duties = _dear(grown_up, monkeypatch)
    age_lease(grown_up, "t", 0)
    with monkeypatch.context() as outage:
        outage.setattr(Database, "sound_for", lambda _: 0.0)
        for _ in range(2):
            duties.look()
    assert row(grown_up, "t").status == "running"
    duties.look()
    assert row(grown_up, "t").status == "pending"


@pytest.mark.parametrize("leap", [LEASE / 3 + 1, 0.0])
def test_a_leap_of_the_databases_clock_is_nobodys_death(
    grown_up: Database, monkeypatch: pytest.MonkeyPatch, leap: float
) -> None:
    """It lets the leases of the living run out too; they are renewed within a third of one."""
    due = views.due

    def leaped(*given: Any) -> views.Due:
        found = due(*given)
        return replace(found, now=found.now + timedelta(seconds=leap))

    monkeypatch.setattr(tending, "FULL_SHARE", 0.0)  # each look is a full one
    add(grown_up, task_id="t")
    take(grown_up)
    duties = _tending(grown_up)
    duties.look()
    age_lease(grown_up, "t", 100)
    monkeypatch.setattr(views, "due", leaped)
    duties.look()
    assert row(grown_up, "t").status == ("running" if leap else "pending")


def test_who_cannot_judge_takes_nothing(database: Database) -> None:
    add(database, task_id="t")
    take(database)
    age_lease(database, "t", 100)
    _tend(database)
    assert row(database, "t").status == "running", "a fresh process waits for lease and heartbeat"


def test_what_expired_is_cancelled_and_wakes_nobody(database: Database) -> None:
    add(database, task_id="t")
    with database.read() as conn:
        moment = views.now(conn)
    add(database, task_id="late", expires_at=moment - timedelta(seconds=1))
    woken: list[str] = []
    _tend(database, woken)
    assert (row(database, "t").status, row(database, "late").status, woken) == ("pending", "cancelled", [])


def test_a_duty_that_fails_keeps_no_other_from_being_done(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_database: Database) -> int:
        raise ValueError("a defect")

    monkeypatch.setattr(tending, "fire_due", broken)
    _schedule(database, seconds_ago=1)
    with database.read() as conn:
        moment = views.now(conn)
    add(database, task_id="late", expires_at=moment - timedelta(seconds=1))
    assert _tend(database) == LOOK_EVERY
    assert row(database, "late").status == "cancelled"
    assert "a defect" in caplog.text
