"""Schedules at the store: one instant, one task, whoever asks and in whatever order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from jobrunner.background import schedules
from jobrunner.background.scheduler import fire_due
from jobrunner.db.engine import Database
from jobrunner.db.tables import firings, tasks
from jobrunner.db.tables import schedules as table
from jobrunner.db.types import db_now
from jobrunner.queue import store
from tests.both_databases.moves import add


def _save(database: Database, **wish: Any) -> None:
    with database.begin() as conn:
        schedules.save(conn, "s", task_type="work", allow_unknown=True, **{"every": 60.0, **wish})


def _due(database: Database, seconds_ago: float) -> None:
    """Let the first instant have come so long ago."""
    with database.begin() as conn:
        conn.execute(update(table).values(anchor=db_now(-seconds_ago - 60), next_at=db_now(-seconds_ago)))


def _fired(database: Database) -> list[Any]:
    with database.read() as conn:
        return list(conn.execute(select(firings).order_by(firings.c.fire_at)))


def _made(database: Database) -> list[str]:
    with database.read() as conn:
        return list(conn.execute(select(tasks.c.task_id)).scalars())


def test_a_due_instant_makes_its_task_once(database: Database) -> None:
    _save(database)
    assert fire_due(database) == 0
    _due(database, 1)
    assert fire_due(database) == 1
    assert fire_due(database) == 0
    [firing] = _fired(database)
    assert _made(database) == [firing.task_id]
    assert (firing.skipped, firing.manual) == (0, False)


def test_an_instant_whose_task_id_somebody_took_has_its_task_all_the_same(database: Database) -> None:
    _save(database)
    _due(database, 1)
    with database.read() as conn:
        [due] = store.due_schedules(conn)
    taken = f"s@{due.next_at:%Y-%m-%dT%H:%M:%SZ}"
    add(database, task_id=taken, queue="theirs")
    assert fire_due(database) == 1
    [firing] = _fired(database)
    assert firing.task_id.startswith(f"{taken}.")
    assert sorted(_made(database)) == [taken, firing.task_id]
    with database.read() as conn:
        assert conn.execute(select(table.c.error)).scalar() is None


def test_missed_instants_collapse_into_the_latest(database: Database) -> None:
    _save(database)
    _due(database, 250)
    assert fire_due(database) == 1
    [firing] = _fired(database)
    assert firing.skipped == 4
    assert timedelta(0) < firing.fired_at - firing.fire_at < timedelta(seconds=60)


def test_only_one_of_two_that_saw_the_same_instant_moves_it_on(database: Database) -> None:
    _save(database)
    _due(database, 1)
    with database.read() as conn:
        [seen] = store.due_schedules(conn)
    later = {"seen": seen.next_at, "fired": seen.next_at, "next_at": seen.next_at + timedelta(seconds=60)}
    with database.begin() as conn:
        assert store.advance(conn, "s", **later)
    with database.begin() as conn:
        assert not store.advance(conn, "s", **later)


def test_an_instant_is_taken_once(database: Database) -> None:
    with database.begin() as conn:
        moment = _now(conn)
        assert store.fire(conn, "s", moment, "a")
        assert not store.fire(conn, "s", moment, "b")
    assert [row.task_id for row in _fired(database)] == ["a"]


def test_a_paused_schedule_is_not_moved_by_who_saw_it_before(database: Database) -> None:
    _save(database)
    _due(database, 1)
    with database.read() as conn:
        [seen] = store.due_schedules(conn)
    with database.begin() as conn:
        schedules.pause(conn, "s")
    with database.begin() as conn:
        assert not store.advance(conn, "s", seen=seen.next_at, fired=seen.next_at, next_at=None)
    assert fire_due(database) == 0


def test_a_refused_task_is_told_and_the_schedule_goes_on(database: Database) -> None:
    _save(database)
    _due(database, 1)
    with database.begin() as conn:
        conn.execute(update(table).values(queue="x" * 1_000))
    assert fire_due(database) == 1
    assert _made(database) == []
    with database.read() as conn:
        told = conn.execute(select(table.c.error, table.c.next_at)).one()
    assert "queue" in told.error
    assert told.next_at is not None


def test_a_resumed_schedule_goes_on_from_its_next_instant(database: Database) -> None:
    _save(database)
    _due(database, 250)
    with database.begin() as conn:
        schedules.pause(conn, "s")
    assert fire_due(database) == 0
    with database.begin() as conn:
        moment = _now(conn)
        assert schedules.resume(conn, "s").next_at > moment, "what was missed while paused is not made up"
    assert fire_due(database) == 0


def test_run_now_is_a_firing_of_its_own(database: Database) -> None:
    _save(database)
    with database.begin() as conn:
        made = [schedules.run_now(conn, "s"), schedules.run_now(conn, "s")]
    assert sorted(_made(database)) == sorted(made)
    assert [(row.task_id, row.manual) for row in _fired(database)] == [(task_id, True) for task_id in sorted(made)]


def _now(conn: Any) -> Any:
    return conn.execute(select(db_now())).scalar_one()
