"""Queues over REST: told, paused, resumed, limited; and nothing of another caller's."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api.answers_fleet import QueueAnswer, QueuesAnswer
from jobrunner.db.engine import Database
from jobrunner.queue import store, views
from jobrunner.queue.views import overview
from tests.api.asking import assert_problem, execute
from tests.api.conftest import KEY, Api
from tests.both_databases.moves import take

ALL = "/api/v1/queues"


def queue(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    QueueAnswer.model_validate_json(answer.text)
    told: dict[str, Any] = answer.json()
    return told


def test_a_queue_is_told_with_what_is_in_it(client: TestClient, database: Database) -> None:
    for number in range(3):
        execute(client, task_id=f"t{number}", queue="bars")
    take(database, 1, queues=["bars"])
    answer = client.get(ALL)
    QueuesAnswer.model_validate_json(answer.text)
    told = {one["name"]: (one["pending"], one["running"], one["paused"]) for one in answer.json()["queues"]}
    assert told == {"bars": (2, 1, False), "default": (0, 0, False)}
    assert queue(client.get(f"{ALL}/bars")) == {
        "name": "bars",
        "paused": False,
        "paused_at": None,
        "paused_by": None,
        "pause_reason": None,
        "max_running": None,
        "max_pending": None,
        "pending": 2,
        "running": 1,
    }


def test_queues_that_only_run_or_that_a_type_goes_to_are_told(client: TestClient, database: Database) -> None:
    execute(client, queue="runs")
    assert take(database)
    with database.begin() as conn:
        store.publish(conn, [{"name": "kind", "schema": "{}", "queue": "a type's"}])
    assert [one["name"] for one in client.get(ALL).json()["queues"]] == ["a type's", "default", "runs"]


def test_counts_stop_at_their_cap(client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobrunner.queue.views.queues.COUNT_CAP", 2)
    views.queues._found.cache_clear()
    try:
        for _ in range(4):
            execute(client)
        assert queue(client.get(f"{ALL}/default"))["pending"] == 2
    finally:
        views.queues._found.cache_clear()
    assert overview.COUNT_CAP == 10_000


def test_a_paused_queue_gives_nothing_until_it_is_resumed(client: TestClient, database: Database, api: Api) -> None:
    execute(client, task_id="t", queue="bars")
    first = queue(client.post(f"{ALL}/bars/pause", json={"reason": "the source is down"}))
    assert (first["paused"], first["pause_reason"]) == (True, "the source is down")
    assert first["paused_by"] == "this machine"
    assert take(database) == []
    again = queue(client.post(f"{ALL}/bars/pause", json={}))
    assert (again["paused_at"], again["pause_reason"]) == (first["paused_at"], None)
    woken = api.asked.woken
    resumed = queue(client.post(f"{ALL}/bars/resume", json={}))
    assert [resumed[name] for name in ("paused", "paused_at", "paused_by", "pause_reason")] == [False, None, None, None]
    assert api.asked.woken == woken + 1
    assert [task.task_id for task in take(database)] == ["t"]


def test_limits_are_set_one_by_one_and_lifted_by_null(client: TestClient) -> None:
    def limits(**wish: int | None) -> tuple[Any, Any]:
        told = queue(client.patch(f"{ALL}/bars", json=wish))
        return told["max_running"], told["max_pending"]

    assert limits(max_pending=10) == (None, 10)
    assert limits(max_running=2) == (2, 10)
    assert limits() == (2, 10)
    assert limits(max_pending=None) == (2, None)
    assert limits(max_running=None) == (None, None)


@pytest.mark.parametrize("value", [0, -1, 2**31, 1.5, "7", True])
def test_a_limit_is_a_number_of_tasks(client: TestClient, value: Any) -> None:
    told = assert_problem(client.patch(f"{ALL}/bars", json={"max_pending": value}), 422, "invalid_input")
    assert told["errors"][0]["pointer"].startswith("/max_pending")


def test_a_queue_that_nobody_knows_is_not_found(client: TestClient) -> None:
    assert_problem(client.get(f"{ALL}/none"), 404, "queue_not_found")
    assert_problem(client.post(f"{ALL}/none/resume", json={}), 404, "queue_not_found")
    assert_problem(client.patch(f"{ALL}/none", json={}), 404, "queue_not_found")
    assert_problem(client.post(f"{ALL}/a%01/pause", json={}), 404, "queue_not_found")
    assert_problem(client.post(f"{ALL}/{'n' * 201}/pause", json={}), 404, "queue_not_found")


def test_the_key_of_one_queue_sees_and_pauses_that_one_alone(api: Api, database: Database) -> None:
    client = api.admin()
    for name in ("mine", "theirs"):
        execute(client, queue=name)
    with database.begin() as conn:
        key = store.issue_key(conn, "mine", ["read", "operate"], queues=["mine"]).text
    mine = api.client(api_key=KEY, headers={"x-api-key": key})
    assert [one["name"] for one in mine.get(ALL).json()["queues"]] == ["mine"]
    assert queue(mine.post(f"{ALL}/mine/pause", json={}))["paused"]
    assert_problem(mine.get(f"{ALL}/theirs"), 404, "queue_not_found")
    for change in ("pause", "resume"):
        assert_problem(mine.post(f"{ALL}/theirs/{change}", json={}), 404, "queue_not_found")
    assert_problem(mine.patch(f"{ALL}/theirs", json={"max_pending": 1}), 404, "queue_not_found")
    assert not queue(client.get(f"{ALL}/theirs"))["paused"]
