"""The guide's calls, field by field: a client of the old system must not notice a difference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from jobrunner.db.engine import Database
from jobrunner.queue.task import Ending, Outcome
from tests.api.asking import EXECUTE, assert_problem, execute, stored
from tests.api.conftest import KEY, Api
from tests.both_databases.moves import BROKEN, end, row, take

STATUSES = {"pending", "running", "completed", "failed", "cancelled"}
TASK = {"task_id", "status", "message", "started_at", "completed_at"}
STATUS = {"task_id", "status", "result", "error", "started_at", "completed_at", "execution_time"}
HEALTH = {
    "node_id",
    "node_name",
    "status",
    "cpu_percent",
    "memory_percent",
    "active_tasks",
    "completed_tasks",
    "failed_tasks",
    "uptime_seconds",
    "last_heartbeat",
    "capabilities",
}


def is_local(text: str) -> bool:
    """Whether this is a time near now as the wall clock of this machine shows it, without an offset."""
    at = datetime.fromisoformat(text)
    return at.tzinfo is None and abs(at - datetime.now()) < timedelta(minutes=2)


def test_the_guides_own_example_is_accepted(api: Api, client: TestClient) -> None:
    told = {
        "task_id": "test_001",
        "task_type": "work",
        "task_data": {"symbols": ["000001.SZ"]},
        "priority": 5,
        "timeout": 300,
    }
    answer = client.post(EXECUTE, json=told)
    assert answer.status_code == 202
    assert answer.headers["location"] == "/api/v1/task/test_001/status"
    assert answer.headers["retry-after"] == "1"
    body = answer.json()
    assert set(body) == TASK
    assert body["task_id"] == "test_001"
    assert body["status"] == "pending"
    assert isinstance(body["message"], str)
    assert body["started_at"] is None
    assert api.asked.woken == 1


def test_a_poll_follows_the_task_to_its_end(client: TestClient, database: Database) -> None:
    where = execute(client, task_id="t").headers["location"]
    waiting = client.get(where).json()
    assert waiting == {
        "task_id": "t",
        "status": "pending",
        "result": None,
        "error": None,
        "started_at": None,
        "completed_at": None,
        "execution_time": 0.0,
    }
    task = take(database)[0]
    running = client.get(where).json()
    assert running["status"] == "running"
    assert is_local(running["started_at"])
    assert running["completed_at"] is None
    end(database, task)
    ended = client.get(where).json()
    assert set(ended) == STATUS
    assert ended["status"] == "completed"
    assert ended["result"] == {"ok": True}
    assert is_local(ended["completed_at"])
    assert isinstance(ended["execution_time"], float)


@pytest.mark.parametrize(("result", "told"), [("[1,2]", {"value": [1, 2]}), ("3", {"value": 3}), (None, None)])
def test_a_result_that_is_no_object_is_wrapped(
    client: TestClient, database: Database, result: str | None, told: object
) -> None:
    execute(client, task_id="t")
    end(database, take(database)[0], Outcome(Ending.COMPLETED, result=result))
    assert client.get("/api/v1/task/t/status").json()["result"] == told
    assert client.get("/api/v1/tasks/t").json()["result"] == told


def test_a_failure_tells_its_error(client: TestClient, database: Database) -> None:
    execute(client, task_id="t", max_attempts=1)
    end(database, take(database)[0], BROKEN)
    told = client.get("/api/v1/task/t/status").json()
    assert (told["status"], told["error"], told["result"]) == ("failed", "boom", None)


def test_an_equal_request_answers_with_the_first_task(api: Api, client: TestClient, database: Database) -> None:
    first = execute(client, task_id="t", task_data={"a": 1, "b": 2}, max_attempts=1)
    again = execute(client, task_id="t", task_data={"b": 2, "a": 1}, max_attempts=1)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["location"] == first.headers["location"]
    end(database, take(database)[0], BROKEN)
    ended = execute(client, task_id="t", task_data={"a": 1, "b": 2})
    assert ended.status_code == 200
    assert ended.json()["status"] == "failed"
    assert is_local(ended.json()["completed_at"])
    assert stored(database) == 1
    assert api.asked.woken == 1


def test_a_different_request_under_the_same_id_is_a_conflict(client: TestClient, database: Database) -> None:
    execute(client, task_id="t", task_data={"a": 1})
    told = assert_problem(execute(client, task_id="t", task_data={"a": 2}), 409, "task_exists")
    assert "'t'" in told["detail"]
    assert stored(database) == 1


def test_a_unique_key_answers_with_the_task_that_is_open(client: TestClient) -> None:
    first = execute(client, unique_key="nightly").json()
    again = execute(client, unique_key="nightly")
    assert (again.status_code, again.json()["task_id"]) == (200, first["task_id"])


def test_what_is_newer_is_stored(client: TestClient, database: Database) -> None:
    answer = execute(
        client,
        task_id="t",
        queue="night",
        run_at="2030-01-31T09:30:00+08:00",
        max_attempts=9,
        expires_at="2031-01-01T00:00:00Z",
        tags=["a", "股票"],
        priority=1,
        timeout=1.5,
    )
    assert answer.status_code == 202
    kept = row(database, "t")
    assert (kept.queue, kept.max_attempts, kept.priority, kept.timeout) == ("night", 9, 1, 1.5)
    assert kept.run_at == datetime(2030, 1, 31, 1, 30, tzinfo=UTC)
    assert kept.expires_at == datetime(2031, 1, 1, tzinfo=UTC)
    told = client.get("/api/v1/tasks/t").json()
    assert told["tags"] == ["a", "股票"]
    assert told["run_at"] == "2030-01-31T01:30:00.000000Z"


def test_the_task_types_own_defaults_fill_the_gaps(client: TestClient, database: Database) -> None:
    assert execute(client, task_id="t", task_type="sum", task_data={"a": 1}).status_code == 202
    kept = row(database, "t")
    assert (kept.queue, kept.priority, kept.max_attempts, kept.timeout) == ("sums", 3, 7, 9)


def test_a_trace_is_kept_with_the_task(client: TestClient, database: Database) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client.post(EXECUTE, json={"task_type": "work", "task_id": "t"}, headers={"traceparent": trace})
    assert row(database, "t").traceparent == trace


@pytest.mark.parametrize("task_id", ["a b", "任务-1", "100%", "..x", "é?&#;", "x@2026-01-01T00:00:00Z"])
def test_every_lawful_task_id_works_in_a_path(client: TestClient, task_id: str) -> None:
    where = execute(client, task_id=task_id).headers["location"]
    assert client.get(where).json()["task_id"] == task_id


@pytest.mark.parametrize(
    "path", ["/api/v1/task/nobody/status", "/api/v1/task/%00/status", f"/api/v1/task/{'x' * 300}/status"]
)
def test_an_unknown_task_is_404(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404, "task_not_found")


def test_health_of_a_node(client: TestClient) -> None:
    told = client.get("/api/v1/health").json()
    assert set(told) == HEALTH
    assert (told["node_id"], told["node_name"], told["status"]) == ("0b5c", "Worker-1", "healthy")
    assert (told["active_tasks"], told["completed_tasks"], told["failed_tasks"]) == (1, 3, 1)
    assert told["capabilities"] == ["sum", "work"]
    assert is_local(told["last_heartbeat"])


@pytest.mark.parametrize(
    ("state", "told"), [("active", "healthy"), ("overloaded", "overloaded"), ("draining", "busy"), ("stuck", "busy")]
)
def test_a_nodes_state_in_the_guides_words(api: Api, client: TestClient, state: str, told: str) -> None:
    api.asked.facts = [api.asked.facts[0].__class__(**{**vars(api.asked.facts[0]), "state": state})]
    assert client.get("/api/v1/health").json()["status"] == told


def test_node_stats(client: TestClient) -> None:
    told = client.get("/api/v1/node/stats").json()
    assert (told["success"], told["message"]) == (True, "")
    assert told["data"]["node_info"] == {
        "node_id": "0b5c",
        "node_name": "Worker-1",
        "max_workers": 4,
        "uptime_seconds": 60.0,
    }
    stats = {"total_executed": 3, "total_failed": 1, "success_rate": 0.75, "average_time": 2.0, "active_tasks": 1}
    assert told["data"]["task_stats"] == stats
    assert told["data"]["system_info"] == {"cpu_count": 2, "memory_total_gb": 4.0, "disk_usage_percent": 70.0}
    assert client.get("/api/v1/statistics").json() == {"success": True, "message": "", "data": stats}


def test_root_tells_a_program_what_this_is(client: TestClient) -> None:
    told = client.get("/", headers={"accept": "application/json"}).json()
    assert told["service"] == "jobrunner"
    assert (told["node_id"], told["node_name"], told["status"]) == ("0b5c", "Worker-1", "healthy")
    assert told["version"]


def test_shutdown_drains(api: Api) -> None:
    with_key = api.client(api_key=KEY, headers={"X-API-Key": KEY})
    answer = with_key.post("/api/v1/node/shutdown")
    assert answer.status_code == 202
    assert answer.json() == {"success": True, "message": "draining", "data": {}}
    assert api.asked.shut_down == 1


def test_no_time_of_the_guide_carries_an_offset_and_every_newer_one_does(
    client: TestClient, database: Database
) -> None:
    execute(client, task_id="t")
    end(database, take(database)[0])
    assert datetime.fromisoformat(client.get("/api/v1/task/t/status").json()["completed_at"]).tzinfo is None
    newer = client.get("/api/v1/tasks/t").json()
    assert newer["completed_at"].endswith("Z")
    assert datetime.fromisoformat(newer["completed_at"]).utcoffset() == timedelta(0)
