"""Schedules over REST."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from tests.api.asking import assert_problem
from tests.api.conftest import Api

ALL = "/api/v1/schedules"


def save(client: TestClient, **told: Any) -> Any:
    return client.post(ALL, json={"name": "nightly", "cron": "0 3 * * *", "task_type": "work", **told})


def test_a_schedule_is_added_and_then_replaced(client: TestClient) -> None:
    first = save(client, timezone="Asia/Shanghai", task_data={"a": 1}, priority=2)
    assert first.status_code == 201
    told = first.json()
    assert (told["name"], told["cron"], told["timezone"]) == ("nightly", "0 3 * * *", "Asia/Shanghai")
    assert (told["task_data"], told["priority"], told["paused"]) == ({"a": 1}, 2, False)
    assert told["next_at"].endswith("T19:00:00.000000Z")
    again = save(client, cron=None, every=60)
    assert (again.status_code, again.json()["every"]) == (200, 60.0)
    assert [one["name"] for one in client.get(ALL).json()["schedules"]] == ["nightly"]


def test_what_is_given_changes_and_the_rest_stays(client: TestClient) -> None:
    before = save(client, timezone="Asia/Shanghai", task_data={"a": 1}, priority=2, timeout=9, max_attempts=4).json()
    changes = {"priority": 7, "timeout": None, "task_data": {"b": 2}}
    told = client.patch(f"{ALL}/nightly", json=changes)
    assert told.status_code == 200
    assert told.json() == {**before, **changes}, "an unchanged clock keeps its next instant"
    assert client.get(ALL).json()["schedules"] == [client.get(f"{ALL}/nightly").json()] == [told.json()]
    assert client.patch(f"{ALL}/nightly", json={}).json() == told.json()
    assert client.patch(f"{ALL}/nightly", json={"max_attempts": None}).json()["max_attempts"] is None


def test_one_kind_of_clock_takes_the_place_of_the_other(client: TestClient) -> None:
    save(client)
    told = client.patch(f"{ALL}/nightly", json={"every": 60}).json()
    assert (told["cron"], told["every"]) == (None, 60.0)
    told = client.patch(f"{ALL}/nightly", json={"cron": "0 4 * * *", "every": None, "timezone": "Asia/Shanghai"}).json()
    assert (told["cron"], told["every"], told["next_at"][10:]) == ("0 4 * * *", None, "T20:00:00.000000Z")
    client.post(f"{ALL}/nightly/pause", json={})
    told = client.patch(f"{ALL}/nightly", json={"cron": "0 5 * * *"}).json()
    assert (told["cron"], told["paused"]) == ("0 5 * * *", True), "a change starts nothing that was paused"


def test_a_change_that_makes_no_sense_changes_nothing(client: TestClient) -> None:
    save(client)
    before = client.get(ALL).json()
    for changes in (
        *(
            {"cron": "61 * * * *"},
            {"cron": None},
            {"cron": "0 3 * * *", "every": 60},
            {"every": 0},
            {"timezone": "X/Y"},
        ),
        *({"task_type": None}, {"task_type": "nobody"}, {"priority": 0}, {"name": "other"}, {"task_data": None}),
    ):
        answer = client.patch(f"{ALL}/nightly", json=changes)
        assert answer.status_code == 422, (changes, answer.text)
    assert_problem(client.patch(f"{ALL}/nobody", json={"every": 60}), 404, "schedule_not_found")
    assert client.get(ALL).json() == before


def test_pause_resume_run_and_remove(api: Api, client: TestClient) -> None:
    save(client, task_data={"a": 1})
    assert client.post(f"{ALL}/nightly/pause", json={}).json()["paused"] is True
    told = client.post(f"{ALL}/nightly/resume", json={}).json()
    assert told["paused"] is False
    assert told["next_at"] is not None
    ran = client.post(f"{ALL}/nightly/run", json={})
    assert ran.status_code == 202
    assert api.asked.woken == 1
    task = client.get(ran.headers["location"]).json()
    assert task["task_id"] == ran.json()["task_id"]
    assert task["status"] == "pending"
    assert client.delete(f"{ALL}/nightly").status_code == 204
    assert client.get(ALL).json() == {"schedules": []}
    assert client.get(f"/api/v1/tasks/{task['task_id']}").json()["task_data"] == {"a": 1}


def test_a_schedule_that_is_not_there(client: TestClient) -> None:
    for path in ("nobody", "%00", "x" * 300):
        for verb in ("pause", "resume", "run"):
            assert_problem(client.post(f"{ALL}/{path}/{verb}", json={}), 404, "schedule_not_found")
        assert_problem(client.delete(f"{ALL}/{path}"), 404, "schedule_not_found")
        assert_problem(client.patch(f"{ALL}/{path}", json={}), 404, "schedule_not_found")
        assert_problem(client.get(f"{ALL}/{path}"), 404, "schedule_not_found")
