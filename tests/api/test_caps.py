"""A queue with a limit refuses what would be too many, and nothing else."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, insert, text
from starlette.testclient import TestClient

from jobrunner.api import caps
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import queues
from jobrunner.queue import views
from jobrunner.queue.request import new_task
from tests.api.asking import assert_problem, execute, stored
from tests.api.conftest import Api
from tests.both_databases.moves import add, end, take
from tests.both_databases.plans import planner, sent


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caps, "CAPS_FOR", 0.0)


def cap(database: Database, queue: str, most: int | None) -> None:
    with database.begin() as conn:
        conn.execute(delete(queues).where(queues.c.name == queue))
        conn.execute(insert(queues).values(name=queue, max_pending=most))


def full(answer: Any) -> None:
    told = assert_problem(answer, 429, "queue_full")
    assert "'q'" in told["detail"]
    assert answer.headers["retry-after"] == "5"


def test_a_full_queue_refuses_until_there_is_room(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caps, "COUNT_FOR", 0.0)
    monkeypatch.setattr(caps, "SHARE", 0.0)
    cap(database, "q", 2)
    add(database, queue="q", task_id="first", delay=3_600)
    assert execute(client, queue="q", task_id="t").status_code == 202
    full(execute(client, queue="q"))
    full(execute(client, queue="q", unique_key="new"))
    assert execute(client).status_code == 202
    assert execute(client, queue="q", task_id="t").status_code == 200, "it is there: it will not be one more"
    assert_problem(execute(client, queue="q", task_id="t", task_data={"n": 1}), 409, "task_exists")
    end(database, take(database, queues=["q"])[0])
    assert execute(client, queue="q", unique_key="k").status_code == 202
    assert execute(client, queue="q", unique_key="k").status_code == 200
    full(execute(client, queue="q"))
    cap(database, "q", None)
    assert execute(client, queue="q").status_code == 202
    cap(database, "q", 0)
    full(execute(client, queue="q"))


def test_a_batch_fills_a_queue_to_its_limit_and_no_further(client: TestClient, database: Database) -> None:
    cap(database, "q", 70)
    tasks = [{"task_type": "work", "queue": "q" if n % 2 else "other"} for n in range(300)]
    told = client.post("/api/v1/tasks/batch", json={"tasks": tasks}).json()["results"]
    assert [one["status"] for one in told if one["index"] % 2 == 0] == [202] * 150
    assert [one["status"] for one in told if one["index"] % 2] == [202] * 70 + [429] * 80
    assert told[299]["problem"]["code"] == "queue_full"
    assert stored(database) == 220


def test_what_was_not_stored_takes_no_room(client: TestClient, database: Database) -> None:
    cap(database, "q", 10)
    execute(client, task_id="elsewhere", queue="other")
    for _ in range(30):
        execute(client, task_id="again", queue="q")
    asked = [{"task_type": "work", "queue": "q", "task_id": name} for name in ("a", "b", "elsewhere", "c", "d", "e")]
    told = client.post("/api/v1/tasks/batch", json={"tasks": asked}).json()["results"]
    assert [one["status"] for one in told] == [202, 202, 409, 202, 202, 202]
    assert [execute(client, queue="q").status_code for _ in range(5)] == [202] * 4 + [429]


def test_many_at_once_add_no_more_than_there_is_room_for(api: Api, database: Database) -> None:
    cap(database, "q", 10)
    clients = [api.client()] * 8

    def fill(client: TestClient) -> list[int]:
        return [execute(client, queue="q", **named).status_code for named in ({}, {"unique_key": "x"}) * 4]

    with ThreadPoolExecutor(8) as threads:
        codes = [code for found in threads.map(fill, clients) for code in found]
    assert set(codes) == {200, 202, 429}
    assert 8 <= codes.count(202) == stored(database) <= 10  # two that met each other count as two for a moment


def test_what_is_stored_while_it_is_counted_does_not_count_twice(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cap(database, "q", 2)
    both = caps.Caps()

    def took(room: caps.Room) -> bool:
        with database.begin() as conn:
            [told] = room.admitted(conn, [new_task("work", queue="q")])
        return not isinstance(told, Exception)

    with both.room() as room:
        assert took(room)
        add(database, queue="q")
        room.stored["q"] += 1
        monkeypatch.setattr(caps, "COUNT_FOR", 60.0)
        monkeypatch.setattr(caps, "SHARE", 0.0)
        both._counts.clear()  # its time is over in the moment between the commit and the settling
        with both.room() as other:
            assert not took(other), "it may be the second, for all that is known"
    with both.room() as room:
        assert took(room)
        assert not took(room), "two are all"


def test_a_count_stops_at_the_limit_and_walks_over_nothing(postgres_url: str) -> None:
    database = open_database(postgres_url)
    with database.begin(deadline=60.0) as conn:
        conn.execute(
            text(
                "INSERT INTO tasks (task_id, task_type, payload, request_hash, queue, run_at, created_at)"
                " SELECT 't' || n, 'work', '{}', '', 'q' || n % 10, statement_timestamp(), statement_timestamp()"
                " FROM generate_series(1, 50000) AS n"
            )
        )
    for _ in range(20):  # while any snapshot is older than the rows, no VACUUM can tell that all see them
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql("VACUUM ANALYZE tasks")
        with planner(database) as plan:
            [found] = plan.plans(sent(database, lambda conn: views.pending_in(conn, "q3", 1_000)))
        if found.touched < 50:
            break
        time.sleep(0.5)
    assert found.indexes == {"ix_tasks_due"}
    assert found.touched < 50
    with database.read() as conn:
        assert views.pending_in(conn, "q3", 1_000) == 1_000
        assert views.pending_in(conn, "q3", 9_000) == 5_000
        assert views.pending_in(conn, "nobody", 9_000) == 0
    database.dispose()
