"""Figures of the last hour, and failures by kind."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api.answers_fleet import FailureAnswer, FailuresAnswer, StatsAnswer
from jobrunner.db.engine import Database
from jobrunner.db.types import db_now
from jobrunner.queue import store, views
from jobrunner.queue.task import Ending, Outcome
from tests.api.asking import assert_problem, execute
from tests.api.conftest import KEY, Api
from tests.both_databases.moves import DONE, change, end, take


def fail(database: Database, client: TestClient, task_id: str, error: str, queue: str = "q") -> None:
    execute(client, task_id=task_id, queue=queue, max_attempts=1)
    [task] = take(database, 1)
    end(database, task, Outcome(Ending.ERROR, error=error, error_class="ValueError"))


def test_what_ended_is_counted_and_measured(client: TestClient, database: Database) -> None:
    for number in range(4):
        execute(client, task_id=f"t{number}", queue="q")
        end(database, take(database, 1)[0], DONE)
        with database.begin() as conn:
            change(conn, f"t{number}", started_at=db_now(-10 - number), finished_at=db_now(-10))
    fail(database, client, "f", "no such luck", queue="r")
    execute(client, task_id="waits", queue="q")
    with database.begin() as conn:
        change(conn, "t0", finished_at=db_now(-4_000))
    answer = client.get("/api/v1/stats")
    StatsAnswer.model_validate_json(answer.text)
    told = answer.json()
    assert told["counts"] == {"pending": 1, "running": 0, "completed": 4, "failed": 1, "cancelled": 0}
    assert not told["capped"]
    (work,) = told["types"]
    assert (work["completed"], work["failed"], work["cancelled"]) == (3, 1, 0)
    assert work["mean_seconds"] == pytest.approx(2.0, abs=0.2)
    assert work["p95_seconds"] == pytest.approx(3.0, abs=0.2)
    assert [(one["name"], one["completed"], one["failed"]) for one in told["ended"]] == [("q", 3, 0), ("r", 0, 1)]
    assert [(one["name"], one["pending"]) for one in told["queues"]] == [("default", 0), ("q", 1)]


def test_where_too_much_ended_it_says_since_when(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobrunner.queue.views.ended.ENDED_MOST", 2)
    for number in range(3):
        execute(client, task_id=f"t{number}")
        end(database, take(database, 1)[0], DONE)
        with database.begin() as conn:
            change(conn, f"t{number}", finished_at=db_now(-100 + number))
    with database.read() as conn:
        now, found = views.now(conn), views.stats(conn)
    assert found.capped
    assert 98 < (now - found.since).total_seconds() < 105
    assert found.types[0].completed == 2
    monkeypatch.setattr("jobrunner.queue.views.ended.ENDED_MOST", 3)
    with database.read() as conn:
        found = views.stats(conn)
    assert (found.capped, found.types[0].completed) == (False, 3), "just as many as are counted"


def test_a_quantile_is_the_nearest_rank() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert [views.quantile(hundred, share) for share in (0.0, 0.07, 0.5, 0.95, 1.0)] == [1.0, 7.0, 50.0, 95.0, 100.0]
    assert views.quantile([1.0, 2.0], 0.5) == 1.0
    assert views.quantile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert views.quantile([], 0.5) == 0.0


def test_failures_of_one_kind_are_told_together(client: TestClient, database: Database) -> None:
    for number in range(3):
        fail(database, client, f"t{number}", f"row {number} of '/data/{number}.csv' is broken")
    fail(database, client, "other", "no such luck")
    answer = client.get("/api/v1/errors")
    FailuresAnswer.model_validate_json(answer.text)
    told = answer.json()
    assert (told["looked_at"], told["all"]) == (4, True)
    assert [(one["count"], one["last_task_id"]) for one in told["errors"]] == [(1, "other"), (3, "t2")]
    group = told["errors"][1]
    assert (group["task_type"], group["error_class"]) == ("work", "ValueError")
    assert group["example"] == "row 2 of '/data/2.csv' is broken"
    assert group["first_at"] < group["last_at"]
    one = client.get(f"/api/v1/errors/{group['fingerprint']}")
    FailureAnswer.model_validate_json(one.text)
    assert one.json() == {**group, "task_ids": ["t2", "t1", "t0"]}
    assert_problem(client.get("/api/v1/errors/0123456789abcdef"), 404, "group_not_found")


def test_only_the_newest_failures_are_looked_at(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobrunner.queue.views.failed.NEWEST", 2)
    for number in range(3):
        fail(database, client, f"t{number}", "boom")
    told: dict[str, Any] = client.get("/api/v1/errors").json()
    assert (told["looked_at"], told["all"], told["errors"][0]["count"]) == (2, False, 2)


def test_the_key_of_one_queue_sees_no_failure_of_another(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api.admin()
    fail(database, client, "mine", "boom", queue="mine")
    fail(database, client, "theirs", "their secret", queue="theirs")
    with database.begin() as conn:
        key = store.issue_key(conn, "mine", ["read"], queues=["mine"]).text
    mine = api.client(api_key=KEY, headers={"x-api-key": key})
    assert [one["last_task_id"] for one in mine.get("/api/v1/errors").json()["errors"]] == ["mine"]
    theirs = client.get("/api/v1/errors").json()["errors"][0]["fingerprint"]
    assert_problem(mine.get(f"/api/v1/errors/{theirs}"), 404, "group_not_found")
    assert_problem(mine.get("/api/v1/stats"), 403, "forbidden")
    for among, found, everything in ((2, 1, True), (1, 0, False)):  # it is looked for among so many, and not for ever
        monkeypatch.setattr("jobrunner.queue.views.failed.AMONG", among)
        told = mine.get("/api/v1/errors").json()
        assert (told["looked_at"], told["all"]) == (found, everything)
