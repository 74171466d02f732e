"""What a task came to, and running one like it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from jobrunner.api import keyring
from jobrunner.api.answers import Accepted
from jobrunner.api.answers_tasks import OpenTask, TaskResult
from jobrunner.db.engine import Database
from jobrunner.queue import store
from jobrunner.queue.task import Ending, Outcome
from tests.api.asking import assert_problem, execute, stored
from tests.api.conftest import KEY, Api
from tests.both_databases.moves import BROKEN, end, row, take

RESULT: TypeAdapter[Any] = TypeAdapter(TaskResult | OpenTask)


def result(client: TestClient, task_id: str, prefer: str = "") -> Any:
    answer = client.get(f"/api/v1/tasks/{task_id}/result", headers={"prefer": prefer})
    if answer.status_code < 400:
        RESULT.validate_json(answer.content)
    return answer


def test_a_result_is_there_once_the_task_has_ended(client: TestClient, database: Database) -> None:
    execute(client, task_id="t")
    told = assert_problem(result(client, "t"), 409, "not_finished")
    assert "pending" in told["detail"]
    waited = result(client, "t", "wait=0")
    assert (waited.status_code, waited.json()) == (202, {"task_id": "t", "status": "pending"})
    assert waited.headers["preference-applied"] == "wait=0"
    task = take(database)[0]
    assert client.get("/api/v1/tasks/t/result?wait=0.1").json() == {"task_id": "t", "status": "running"}
    end(database, task)
    whole = {"task_id": "t", "status": "completed", "result": {"ok": True}, "error": None}
    assert result(client, "t").json() == result(client, "t", "wait=9").json() == whole
    assert_problem(result(client, "nobody"), 404, "task_not_found")


def test_what_failed_has_its_error_as_result(client: TestClient, database: Database) -> None:
    execute(client, task_id="t", max_attempts=1)
    end(database, take(database)[0], BROKEN)
    assert result(client, "t").json() == {"task_id": "t", "status": "failed", "result": None, "error": "boom"}
    execute(client, task_id="list")
    end(database, take(database)[0], Outcome(Ending.COMPLETED, result="[1]"))
    assert result(client, "list").json()["result"] == {"value": [1]}


def rerun(client: TestClient, task_id: str, /, **told: Any) -> Any:
    return client.post(f"/api/v1/tasks/{task_id}/rerun", json=told)


def test_another_like_it_runs_with_what_shall_be_different(api: Api, client: TestClient, database: Database) -> None:
    given = {"task_id": "t", "task_type": "sum", "task_data": {"a": 1, "b": 2}, "timeout": 7.5, "max_attempts": 2}
    execute(client, **given, priority=2, tags=["x"], unique_key="k", expires_at="2031-01-01T00:00:00Z", delay=600)
    woken = api.asked.woken
    answer = rerun(client, "t")
    assert answer.status_code == 202
    told = Accepted.model_validate_json(answer.content)
    assert answer.headers["location"] == f"/api/v1/task/{told.task_id}/status"
    assert (told.status, told.task_id == "t", api.asked.woken) == ("pending", False, woken + 1)
    new, old = row(database, told.task_id), row(database, "t")
    same = ("task_type", "payload", "queue", "priority", "timeout", "max_attempts", "tags")
    assert [getattr(new, name) for name in same] == [getattr(old, name) for name in same]
    assert (new.unique_key, new.expires_at) == (None, None)
    assert new.run_at < old.run_at
    other = rerun(client, "t", task_data={"a": 5}, queue="other", priority=9, task_id="mine")
    assert (other.status_code, other.json()) == (202, {"task_id": "mine", "status": "pending"})
    kept = row(database, "mine")
    assert (kept.queue, kept.priority, kept.payload.replace(" ", "")) == ("other", 9, '{"a":5}')
    again = rerun(client, "t", task_data={"a": 5}, queue="other", priority=9, task_id="mine")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert_problem(rerun(client, "t", task_id="mine"), 409, "task_exists")
    assert_problem(rerun(client, "t", task_data={"a": "x"}), 422, "invalid_input")
    assert_problem(rerun(client, "t", task_type="work"), 422, "invalid_input")
    assert_problem(rerun(client, "nobody"), 404, "task_not_found")
    assert stored(database) == 3


def test_a_key_of_named_queues_runs_its_own_again_and_in_no_other_queue(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    with database.begin() as conn:
        text = store.issue_key(conn, "mine", ["submit", "read"], queues=["mine"]).text
    owner = api.admin()
    execute(owner, task_id="own", queue="mine")
    execute(owner, task_id="theirs")
    keyed = api.client(api_key=KEY, headers={"x-api-key": text})
    assert rerun(keyed, "own").status_code == 202
    assert_problem(rerun(keyed, "own", queue="default"), 403, "forbidden")
    assert_problem(rerun(keyed, "theirs", queue="mine"), 404, "task_not_found")
    assert_problem(result(keyed, "theirs", "wait=9"), 404, "task_not_found")
    assert_problem(result(keyed, "own"), 409, "not_finished")
