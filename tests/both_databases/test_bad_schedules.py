"""One schedule that cannot fire: it is told so and moved on, and the others behind it fire."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, field_validator
from sqlalchemy import select, text, update

from jobrunner.background import schedules
from jobrunner.background.scheduler import fire_due
from jobrunner.db.engine import Database
from jobrunner.db.tables import firings, tasks
from jobrunner.db.tables import schedules as table
from jobrunner.db.types import db_now
from jobrunner.handlers import registry, task


class Picky(BaseModel):
    """Arguments whose validator breaks, and not with a ValueError."""

    day: int

    @field_validator("day")
    @classmethod
    def _breaks(cls, day: int) -> int:
        raise {1: RuntimeError, 2: KeyError}[day]("no calendar\0here")


def _picky(args: Picky) -> None: ...


def _save(database: Database, name: str, seconds_ago: float, **wish: Any) -> None:
    """A schedule whose first instant came so long ago."""
    with database.begin() as conn:
        schedules.save(conn, name, task_type="work", every=60.0, allow_unknown=True, **wish)
        first = {"anchor": db_now(-seconds_ago - 60), "next_at": db_now(-seconds_ago)}
        conn.execute(update(table).where(table.c.name == name).values(**first))


def _change(database: Database, name: str, **values: Any) -> None:
    with database.begin() as conn:
        conn.execute(update(table).where(table.c.name == name).values(**values))


def _row(database: Database, name: str) -> Any:
    with database.read() as conn:
        return conn.execute(select(table, db_now().label("now")).where(table.c.name == name)).one()


def _made(database: Database) -> list[str]:
    with database.read() as conn:
        return [task_id.partition("@")[0] for task_id in conn.execute(select(tasks.c.task_id)).scalars()]


@pytest.mark.parametrize(("day", "told"), [(1, "RuntimeError: no calendar"), (2, "KeyError: ")])
def test_a_validator_that_breaks_stops_no_other_schedule(database: Database, day: int, told: str) -> None:
    _save(database, "bad", 20, payload={"day": day})
    _save(database, "good", 5)
    _change(database, "bad", task_type="picky")
    with registry.isolated():
        task("picky")(_picky)
        assert fire_due(database) == 2
        assert fire_due(database) == 0
    assert _made(database) == ["good"]
    bad, good = _row(database, "bad"), _row(database, "good")
    assert bad.error.startswith(told)
    assert "\0" not in bad.error
    assert bad.next_at > bad.now
    assert good.error is None


def test_a_schedule_that_the_database_refuses_stops_no_other(database: Database) -> None:
    _save(database, "bad", 20)
    _save(database, "good", 5)
    _save(database, "holder", -3_600)
    _change(database, "holder", fired_at=_row(database, "bad").next_at)
    with database.begin() as conn:
        conn.execute(text("CREATE UNIQUE INDEX one_at_a_time ON schedules (fired_at)"))
    assert fire_due(database) == 1
    assert _made(database) == ["good"]
    bad = _row(database, "bad")
    assert bad.error.startswith("IntegrityError: ")
    assert bad.next_at > bad.now
    with database.read() as conn:
        assert list(conn.execute(select(firings.c.schedule)).scalars()) == ["good"]


def _lost_zone(database: Database) -> None:
    """A schedule that is blamed for its zone, which the tz database has again afterwards."""
    _save(database, "s", 5)
    _change(database, "s", every=None, cron="@daily", timezone="Mars/Base")
    assert fire_due(database) == 0
    lost = _row(database, "s")
    assert lost.next_at is None
    assert "Mars/Base" in lost.error
    _change(database, "s", timezone="UTC")


def test_a_blamed_schedule_fires_again_once_it_is_saved_again(database: Database) -> None:
    _lost_zone(database)
    with database.begin() as conn:
        found = schedules.save(conn, "s", task_type="work", cron="@daily", allow_unknown=True)
    now = _row(database, "s").now
    assert found.next_at is not None
    assert now < found.next_at <= now + timedelta(days=1)


def test_a_blamed_schedule_fires_again_once_it_is_resumed(database: Database) -> None:
    _lost_zone(database)
    with database.begin() as conn:
        found = schedules.resume(conn, "s")
    assert found.next_at is not None
    assert found.next_at > _row(database, "s").now


def test_a_paused_schedule_stays_without_an_instant_when_it_is_saved_again(database: Database) -> None:
    _save(database, "s", 5)
    with database.begin() as conn:
        schedules.pause(conn, "s")
        found = schedules.save(conn, "s", task_type="work", every=60.0, allow_unknown=True)
    assert (found.paused, found.next_at) == (True, None)
