"""Operations over REST: begun, told, aborted, and kept within the caller's queues."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api import create_app
from jobrunner.api.answers_fleet import OperationAnswer, OperationsAnswer
from jobrunner.db.engine import Database
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from jobrunner.queue.store.operations import STEP
from tests.api.asking import assert_problem, execute
from tests.api.conftest import KEY, Api
from tests.both_databases.moves import add, end, take

ALL = "/api/v1/operations"


def told(answer: Any, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    OperationAnswer.model_validate_json(answer.text)
    found: dict[str, Any] = answer.json()
    return found


def test_a_small_one_is_done_when_the_answer_comes(client: TestClient, database: Database, api: Api) -> None:
    for number in range(4):
        execute(client, task_id=f"t{number}", queue="bars")
    take(database, 1)
    dry = told(client.post(ALL, json={"action": "cancel", "filter": {"queue": "bars"}, "dry_run": True}), 202)
    assert (dry["state"], dry["matched"], dry["changed"], dry["capped"]) == ("done", 4, 0, False)
    answer = client.post(ALL, json={"action": "cancel", "filter": {"queue": "bars", "status": ["pending"]}})
    done = told(answer, 202)
    assert (done["state"], done["matched"], done["changed"], done["unchanged"]) == ("done", 3, 3, 0)
    assert done["filter"] == {"queue": "bars", "status": ["pending"]}
    assert told(client.get(answer.headers["location"])) == done
    assert api.asked.hinted == 0
    told(client.post(ALL, json={"action": "cancel", "filter": {"status": ["running"]}}), 202)
    assert api.asked.hinted == 1
    retried = told(client.post(ALL, json={"action": "retry", "ids": ["t1", "t2", "none"]}), 202)
    assert (retried["changed"], retried["unchanged"], retried["ids"]) == (2, 1, ["t1", "t2", "none"])
    listed = client.get(ALL)
    OperationsAnswer.model_validate_json(listed.text)
    assert listed.json()["operations"][0]["id"] == retried["id"]
    assert len(listed.json()["operations"]) == 4


def test_to_run_again_takes_the_scope_to_submit_as_well(api: Api, database: Database) -> None:
    add(database, task_id="t")
    end(database, take(database)[0])
    rerun = {"action": "rerun", "ids": ["t"]}
    for scopes, status in ((["operate"], 403), (["operate", "submit"], 202), (["admin"], 202)):
        with database.begin() as conn:
            key = store.issue_key(conn, "one", scopes).text
        client = api.client(api_key=KEY, headers={"x-api-key": key})
        answer = client.post(ALL, json=rerun)
        assert (answer.status_code, answer.json().get("changed")) == (status, None if status == 403 else 1), scopes
        assert client.post(ALL, json={**rerun, "action": "retry"}).status_code == 202


def test_who_waits_for_a_task_hears_that_an_operation_ended_it(api: Api) -> None:
    service = api.service()
    heard: list[str] = []
    client = TestClient(create_app(service), base_url="http://localhost:8900", client=("127.0.0.1", 50_000))
    execute(client, task_id="t")
    service.ends.wait(["t"], heard.append)
    told(client.post(ALL, json={"action": "cancel", "ids": ["t"]}), 202)
    assert heard == ["t"]


def test_an_end_before_the_end(client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobrunner.api.routes.operations.AT_ONCE", 0.0)  # one step of it, and nobody here does the rest
    with database.begin() as conn:
        store.enqueue_many(conn, [new_task("work", task_id=f"t{number}") for number in range(STEP + 1)])
    begun = told(client.post(ALL, json={"action": "cancel", "filter": {"status": ["pending"]}}), 202)
    assert (begun["state"], begun["changed"]) == ("running", STEP)
    aborted = told(client.delete(f"{ALL}/{begun['id']}"))
    assert (aborted["state"], aborted["changed"]) == ("aborted", STEP)
    assert told(client.delete(f"{ALL}/{begun['id']}")) == aborted
    assert [task["status"] for task in client.get("/api/v1/tasks?status=pending").json()["tasks"]] == ["pending"]
    assert_problem(client.get(f"{ALL}/none"), 404, "operation_not_found")
    assert_problem(client.delete(f"{ALL}/none"), 404, "operation_not_found")


def test_a_queue_is_emptied_of_what_waits(client: TestClient, database: Database) -> None:
    for number in range(3):
        execute(client, task_id=f"t{number}", queue="bars")
    execute(client, task_id="other")
    take(database, 1, queues=["bars"])
    dry = told(client.post("/api/v1/queues/bars/purge", json={"dry_run": True}), 202)
    assert (dry["matched"], dry["changed"]) == (2, 0)
    done = told(client.post("/api/v1/queues/bars/purge", json={}), 202)
    assert (done["state"], done["changed"], done["action"]) == ("done", 2, "cancel")
    statuses = [client.get(f"/api/v1/tasks/{name}").json()["status"] for name in ("t0", "t1", "t2", "other")]
    assert sorted(statuses) == ["cancelled", "cancelled", "pending", "running"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "cancel"},
        {"action": "cancel", "filter": {}},
        {"action": "cancel", "filter": {"queue": None}},
        {"action": "cancel", "filter": {"queue": "q"}, "ids": ["t"]},
        {"action": "cancel", "ids": []},
        {"action": "cancel", "ids": ["a\n"]},
        {"action": "cancel", "ids": ["t"] * 1_001},
        {"action": "drop", "ids": ["t"]},
        {"action": "cancel", "filter": {"status": ["done"]}},
        *({"action": "cancel", "filter": {"status": ["pending"], name: ""}} for name in ("queue", "type", "tag", "q")),
        {"action": "cancel", "filter": {"status": []}},
        {"action": "cancel", "filter": {"created_after": "2026-01-01T00:00:00"}},
        {"action": "cancel", "ids": ["t"], "dry_run": "yes"},
    ],
)
def test_one_that_does_not_say_what_it_wants_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert_problem(client.post(ALL, json=body), 422, "invalid_input")
    assert client.get(ALL).json()["operations"] == []


def test_the_key_of_one_queue_changes_and_sees_that_one_alone(api: Api, database: Database) -> None:
    client = api.admin()
    for name in ("mine", "theirs"):
        execute(client, task_id=name, queue=name)
    with database.begin() as conn:
        key = store.issue_key(conn, "mine", ["read", "operate"], queues=["mine"]).text
    mine = api.client(api_key=KEY, headers={"x-api-key": key})
    of_all = told(client.post(ALL, json={"action": "cancel", "filter": {"queue": "none"}}), 202)
    own = told(mine.post(ALL, json={"action": "cancel", "filter": {"type": "work"}}), 202)
    assert (own["matched"], own["changed"]) == (1, 1)
    assert client.get("/api/v1/tasks/theirs").json()["status"] == "pending"
    assert [one["id"] for one in mine.get(ALL).json()["operations"]] == [own["id"]]
    assert_problem(mine.get(f"{ALL}/{of_all['id']}"), 404, "operation_not_found")
    assert_problem(mine.delete(f"{ALL}/{of_all['id']}"), 404, "operation_not_found")
