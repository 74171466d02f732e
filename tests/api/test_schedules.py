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
