"""Submissions that arrive together are stored together; each caller gets what is its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import BaseModel, field_validator
from sqlalchemy import func, select, text

from jobrunner.api.callers import LOOPBACK
from jobrunner.api.intake import AGAIN, Found, Intake
from jobrunner.db import engine
from jobrunner.db.engine import Database
from jobrunner.db.tables import tasks
from jobrunner.errors import DatabaseBusy, DatabaseUnavailable, InvalidInput, TaskExists, UnknownTaskType
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from jobrunner.queue.store import Submitted
from jobrunner.queue.views import TaskView
from jobrunner.submission import Request, submit


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


def ask(database: Database, requests: list[Request]) -> list[Found | BaseException]:
    """What each of so many callers hears, who all ask at once."""
    intake = Intake(database, allow_unknown=False)

    async def all_at_once() -> list[Found | BaseException]:
        return await asyncio.gather(*(intake.submit(one, LOOPBACK) for one in requests), return_exceptions=True)

    return asyncio.run(all_at_once())


def parcels(*weights: Any) -> list[Request]:
    return [Request("ship", {"weight": weight}) for weight in weights]


def stored(database: Database) -> dict[str, int]:
    with database.read() as conn:
        rows = conn.execute(select(tasks.c.task_id, tasks.c.payload)).all()
    return {task_id: int(payload.strip("}").partition(":")[2]) for task_id, payload in rows}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every transaction from now on."""
    found: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(Database, name)

        def begin(*args: Any, **given: Any) -> Any:
            found.append(name)
            return real(*args, **given)

        return begin

    for name in ("begin", "single"):
        monkeypatch.setattr(Database, name, counted(name))
    return found


def test_each_gets_its_own_answer(database: Database, begun: list[str]) -> None:
    requests = parcels(*range(100, 140), "heavy", *range(140, 180))
    requests.insert(20, Request("shop", {}))
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


def test_those_that_wait_go_together(database: Database, begun: list[str]) -> None:
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

    async def come_and_go() -> list[Found | BaseException]:
        waiting = [asyncio.create_task(intake.submit(one, LOOPBACK)) for one in parcels(1, 2, 3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        return [*told, await intake.submit(parcels(4)[0], LOOPBACK)]

    told = asyncio.run(come_and_go())
    assert isinstance(told[1], asyncio.CancelledError)
    assert [isinstance(one, Submitted) for one in told] == [True, False, True, True]
    with database.read() as conn:
        assert conn.execute(select(func.count()).select_from(tasks)).scalar_one() == 4


def named(*names: str, weight: int = 1) -> list[Request]:
    return [Request("ship", {"weight": weight}, {"task_id": name}) for name in names]


def test_those_with_keys_go_together_too_in_the_order_of_their_keys(database: Database, begun: list[str]) -> None:
    names = [f"t-{n:03}" for n in range(60)]
    told = ask(database, named(*reversed(names)))
    assert [one.task_id for one in told if isinstance(one, Submitted) and one.created] == names[::-1]
    assert len(begun) == 1
    with database.read() as conn:
        assert conn.execute(select(tasks.c.task_id).order_by(tasks.c.id)).scalars().all() == names


def test_one_key_at_once_makes_one_task_and_tells_the_others_how_it_stands(database: Database) -> None:
    keyed = [Request("ship", {"weight": n}, {"unique_key": "k"}) for n in range(3)]
    told = ask(database, [*named("a", "b", "a", "a"), *keyed])
    assert [isinstance(one, Submitted) for one in told] == [True, True, False, False, True, False, False]
    first = told[4]
    assert isinstance(first, Submitted)
    assert [one.task_id for one in told if isinstance(one, TaskView)] == ["a", "a", first.task_id, first.task_id]
    assert len(stored(database)) == 3


def test_a_key_that_another_request_has_is_refused_to_that_one_alone(database: Database) -> None:
    ask(database, named("taken"))
    told = ask(database, [*named("new-1"), *named("taken", weight=2), *named("new-2", "taken")])
    assert isinstance(told[1], TaskExists)
    assert [isinstance(told[n], Submitted) for n in (0, 2)] == [True, True]
    assert isinstance(told[3], TaskView)
    assert sorted(stored(database)) == ["new-1", "new-2", "taken"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_key_in_an_open_transaction_holds_up_its_own_request_alone(postgres_url: str, kept: bool) -> None:
    """One connection must do: who waits holds none. Four wait for one key, and one of them gives up."""
    database, other = Database(postgres_url, pool_size=1), Database(postgres_url)
    intake = Intake(database, allow_unknown=False)

    async def go() -> tuple[float, list[Found | BaseException]]:
        with other.engine.connect().execution_options(isolation_level="READ COMMITTED") as holder:
            with holder.begin() as transaction:
                submit(holder, "ship", {"weight": 1}, task_id="held")
                began = time.monotonic()
                stalled = [asyncio.create_task(intake.submit(one, LOOPBACK)) for one in named(*["held"] * 4)]
                for _ in range(3):
                    free = [*named(*(f"free-{time.monotonic_ns()}-{n}" for n in range(20))), *parcels(1)]
                    told = await asyncio.gather(*(intake.submit(one, LOOPBACK) for one in free))
                    assert all(isinstance(one, Submitted) and one.created for one in told)
                took = time.monotonic() - began
                await asyncio.sleep(2 * AGAIN)
                assert not any(one.done() for one in stalled)
                stalled[0].cancel()
                await asyncio.sleep(2 * AGAIN)  # a try that was under way may else have the key after the rollback
                if not kept:
                    transaction.rollback()
        return took, await asyncio.gather(*stalled, return_exceptions=True)

    took, told = asyncio.run(go())
    assert took < 6
    assert isinstance(told[0], asyncio.CancelledError)
    assert [isinstance(one, TaskView) for one in told[1:]].count(True) == (3 if kept else 2)
    assert [isinstance(one, Submitted) for one in told[1:]].count(True) == (0 if kept else 1)
    assert {one.task_id for one in told[1:] if isinstance(one, Submitted | TaskView)} == {"held"}
    assert len(stored(database)) == 64
    database.dispose()
    other.dispose()


def test_a_key_that_stays_held_is_given_up_without_ending_the_connection(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobrunner.api.intake.DEADLINE", 0.3)
    database, other = Database(postgres_url, pool_size=1), Database(postgres_url)
    opened = engine._clock()
    with database.begin() as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with other.begin() as holder:
        submit(holder, "ship", {"weight": 1}, task_id="held")
        assert [type(one) for one in ask(database, named("held"))] == [DatabaseBusy]
    with database.begin() as conn:
        assert conn.execute(text("SELECT pg_backend_pid()")).scalar_one() == pid
    assert _never_broken(database, opened)
    database.dispose()
    other.dispose()


def test_two_servers_with_the_same_keys_make_each_task_once(postgres_url: str) -> None:
    servers = [Database(postgres_url, pool_size=2) for _ in range(2)]
    opened = engine._clock()
    names = [f"t-{n}" for n in range(300)]
    keyed = [Request("ship", {"weight": 100 + n}, {"unique_key": f"k-{n}", "task_id": f"own-{n}"}) for n in range(100)]
    asked = [[*named(*names), *keyed], [*named(*reversed(names)), *reversed(keyed)]]
    with ThreadPoolExecutor(2) as threads:
        told = [one for found in threads.map(ask, servers, asked) for one in found]
    assert [type(one) for one in told if not isinstance(one, Submitted | TaskView)] == []
    made = [one.task_id for one in told if isinstance(one, Submitted)]
    assert sorted(made) == sorted([*names, *(f"own-{n}" for n in range(100))])
    assert set(stored(servers[0])) == set(made)
    for server in servers:
        assert _never_broken(server, opened)
        server.dispose()


def _never_broken(database: Database, opened: float) -> bool:
    """Whether it saw no outage since that moment of the process's clock."""
    asked = engine._clock()
    return database.sound_for() >= asked - opened
