"""Submissions that arrive together are stored together; each caller gets what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, field_validator
from sqlalchemy import event, func, select, text

from jobrunner.api.intake import Intake
from jobrunner.db.engine import Database
from jobrunner.db.tables import tasks
from jobrunner.errors import DatabaseUnavailable, InvalidInput, UnknownTaskType
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from jobrunner.queue.store import Submitted
from jobrunner.submission import Request


class Parcel(BaseModel):
    weight: int

    @field_validator("weight")
    @classmethod
    def weighed(cls, weight: int) -> int:
        if weight == 13:
            raise KeyError("the scales broke")
        return weight


@pytest.fixture(autouse=True)
def _types() -> Iterator[None]:
    with registry.isolated():

        @task("ship")
        async def ship(parcel: Parcel) -> dict[str, Any]:
            return {}

        yield


def ask(database: Database, requests: list[Request]) -> list[Submitted | BaseException]:
    """What each of so many callers hears, who all ask at once."""
    intake = Intake(database, allow_unknown=False)

    async def all_at_once() -> list[Submitted | BaseException]:
        return await asyncio.gather(*map(intake.submit, requests), return_exceptions=True)

    return asyncio.run(all_at_once())


def parcels(*weights: Any) -> list[Request]:
    return [Request("ship", {"weight": weight}) for weight in weights]


def stored(database: Database) -> dict[str, int]:
    with database.read() as conn:
        rows = conn.execute(select(tasks.c.task_id, tasks.c.payload)).all()
    return {task_id: int(payload.strip("}").partition(":")[2]) for task_id, payload in rows}


def test_each_gets_its_own_answer(database: Database) -> None:
    requests = parcels(*range(100, 140), "heavy", *range(140, 180))
    requests.insert(20, Request("shop", {}))
    begun: list[object] = []
    event.listen(database.engine, "begin", begun.append)
    told = ask(database, requests)
    assert len(begun) == 2, "64 and the rest: a refusal is no reason to begin again"
    refused = [one for one in told if not isinstance(one, Submitted)]
    assert [type(one) for one in refused] == [UnknownTaskType, InvalidInput]
    assert isinstance(told[20], UnknownTaskType)
    assert {
        one.task_id: request.payload["weight"]
        for one, request in zip(told, requests, strict=True)
        if isinstance(one, Submitted)
    } == stored(database)
    assert len(stored(database)) == 80


def test_those_that_wait_go_together(database: Database) -> None:
    begun: list[object] = []
    event.listen(database.engine, "begin", begun.append)
    told = ask(database, parcels(*range(100, 160)))
    assert all(isinstance(one, Submitted) and one.created for one in told)
    assert len(begun) == 1


def test_what_breaks_over_one_is_told_to_that_one_and_stores_none_twice(database: Database) -> None:
    told = ask(database, parcels(1, 2, 13, 3))
    assert [isinstance(one, Submitted) for one in told] == [True, True, False, True]
    assert isinstance(told[2], KeyError)
    assert sorted(stored(database).values()) == [1, 2, 3]


def test_an_outage_is_told_to_all_and_the_next_are_served(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1)
    with database.begin() as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
    killer = Database(postgres_url)
    with killer.begin() as conn:
        conn.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
    told = ask(database, parcels(1, 2, 3))
    assert [type(one) for one in told] == [DatabaseUnavailable] * 3
    assert all(isinstance(one, Submitted) for one in ask(database, parcels(4, 5)))
    assert sorted(stored(database).values()) == [4, 5]
    database.dispose()
    killer.dispose()


def test_a_caller_who_goes_away_holds_up_nobody(database: Database) -> None:
    intake = Intake(database, allow_unknown=False)

    async def come_and_go() -> list[Submitted | BaseException]:
        waiting = [asyncio.create_task(intake.submit(one)) for one in parcels(1, 2, 3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        return [*told, await intake.submit(parcels(4)[0])]

    told = asyncio.run(come_and_go())
    assert isinstance(told[1], asyncio.CancelledError)
    assert [isinstance(one, Submitted) for one in told] == [True, False, True, True]
    with database.read() as conn:
        assert conn.execute(select(func.count()).select_from(tasks)).scalar_one() == 4
