"""The newer calls on tasks, nodes and the queue as a whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from starlette.testclient import TestClient

from jobrunner.api import routes
from jobrunner.db.engine import Database
from jobrunner.queue import store
from jobrunner.queue.task import LogLine
from tests.api.asking import assert_problem, execute
from tests.api.conftest import Api
from tests.both_databases.moves import BROKEN, end, take


def node(database: Database, name: str = "w1", **told: Any) -> None:
    """A living node's row."""
    row = {
        "id": f"id-{name}",
        "name": name,
        "host": "h",
        "pid": 1,
        "version": "0",
        "state": "active",
        "types": '["work"]',
        "slots": 4,
        "cpu_percent": 20.0,
        "memory_percent": 50.0,
        "cpu_count": 2,
        "memory_total": 2**32,
        **told,
    }
    with database.begin() as conn:
        store.register(conn, row)


def test_a_list_goes_on_by_its_cursor(client: TestClient) -> None:
    for number in range(5):
        execute(client, task_id=f"t{number}")
    first = client.get("/api/v1/tasks?limit=3")
    assert [one["task_id"] for one in first.json()["tasks"]] == ["t4", "t3", "t2"]
    following = first.headers["link"].partition(">")[0].removeprefix("<")
    last = client.get(following)
    assert [one["task_id"] for one in last.json()["tasks"]] == ["t1", "t0"]
    assert last.json()["next_cursor"] is None
    assert "link" not in last.headers
    assert "task_data" not in first.json()["tasks"][0]


def test_a_list_is_filtered(client: TestClient, database: Database) -> None:
    execute(client, task_id="a", queue="q")
    execute(client, task_id="b", task_type="sum", task_data={"a": 1})
    execute(client, task_id="c")
    end(database, take(database, queues=["q"])[0])

    def ids(query: str) -> set[str]:
        return {one["task_id"] for one in client.get(f"/api/v1/tasks?{query}").json()["tasks"]}

    assert ids("status=completed") == {"a"}
    assert ids("status=completed,pending") == ids("status=completed&status=pending") == {"a", "b", "c"}
    assert ids("type=sum") == {"b"}
    assert ids("queue=q&status=pending") == set()
    assert ids("queue=") == ids("type=&status=pending") == ids("tag=") == set()
    execute(client, task_id="d-1", tags=["red", "hot"])
    assert ids("tag=red") == ids("q=d-&tag=hot") == ids("q=d") == {"d-1"}
    assert ids("tag=red,hot") == set()
    assert ids("node=node-a") == {"a"}
    assert ids("created_before=2026-01-01T00:00:00Z") == set()
    assert ids("created_after=2026-01-01T00:00:00%2B08:00&type=sum") == {"b"}
    assert ids("created_after=0001-01-01T00:00:00Z&created_before=9999-12-31T23:59:59.999999Z&type=sum") == {"b"}


def test_every_answer_is_as_it_is_described(client: TestClient, database: Database) -> None:
    execute(client, task_id="t", tags=["red"], unique_key="k", expires_at="2031-01-01T00:00:00Z")
    execute(client, task_id="other")
    task = take(database, 1)[0]
    with database.begin() as conn:
        store.logs(conn, [(task.lease, LogLine(datetime(2026, 1, 1, tzinfo=UTC), "info", "line", {"n": 1}))])
    end(database, task, BROKEN)
    asked = {
        "": client.get("/api/v1/tasks?limit=1"),
        "/{task_id}": client.get("/api/v1/tasks/t"),
        "/{task_id}/attempts": client.get("/api/v1/tasks/t/attempts"),
        "/{task_id}/logs": client.get("/api/v1/tasks/t/logs"),
        "/{task_id}/cancel": client.post("/api/v1/tasks/other/cancel", json={}),
        "/{task_id}/retry": client.post("/api/v1/tasks/other/retry", json={}),
    }
    for path, answer in asked.items():
        row = next(row for row in routes.TABLE if row.path == f"/api/v1/tasks{path}")
        assert answer.status_code in row.statuses, path
        TypeAdapter(row.response).validate_json(answer.content)


def test_attempts_and_logs(client: TestClient, database: Database) -> None:
    execute(client, task_id="t")
    task = take(database)[0]
    with database.begin() as conn:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        store.logs(conn, [(task.lease, LogLine(at, "info", f"line {n}", {"n": n})) for n in range(3)])
    end(database, task, BROKEN)
    told = client.get("/api/v1/tasks/t/attempts").json()["attempts"]
    assert [(one["attempt"], one["outcome"], one["error"]) for one in told] == [(1, "error", "boom")]
    page = client.get("/api/v1/tasks/t/logs?limit=2").json()
    assert [one["message"] for one in page["logs"]] == ["line 0", "line 1"]
    rest = client.get(f"/api/v1/tasks/t/logs?after={page['next_after']}").json()
    assert [one["fields"] for one in rest["logs"]] == [{"n": 2}]
    for part in ("", "/attempts", "/logs"):
        assert_problem(client.get(f"/api/v1/tasks/nobody{part}"), 404, "task_not_found")


def test_cancel_and_retry(api: Api, client: TestClient, database: Database) -> None:
    execute(client, task_id="t")
    answer = client.post("/api/v1/tasks/t/cancel", json={"reason": "not today"})
    assert (answer.status_code, answer.json()) == (200, {"task_id": "t", "status": "cancelled"})
    assert client.get("/api/v1/tasks/t").json()["error"] == "not today"
    assert api.asked.hinted == 0
    woken = api.asked.woken
    answer = client.post("/api/v1/tasks/t/retry", json={})
    assert (answer.status_code, answer.json()) == (202, {"task_id": "t", "status": "pending"})
    assert api.asked.woken == woken + 1
    task = take(database)[0]
    answer = client.post("/api/v1/tasks/t/cancel", json={})
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert api.asked.hinted == 1
    assert client.get("/api/v1/tasks/t").json()["reason"] == "cancelling"
    assert_problem(client.post("/api/v1/tasks/t/retry", json={}), 409, "state_conflict")
    assert end(database, task) == "cancelled"


def test_a_completed_task_is_neither_cancelled_nor_retried(client: TestClient, database: Database) -> None:
    execute(client, task_id="t")
    end(database, take(database)[0])
    assert_problem(client.post("/api/v1/tasks/t/cancel", json={}), 409, "state_conflict")
    assert_problem(client.post("/api/v1/tasks/t/retry", json={}), 409, "state_conflict")


def test_nodes(client: TestClient, database: Database) -> None:
    node(database, "b")
    node(database, "a", running=2)
    told = client.get("/api/v1/nodes").json()["nodes"]
    assert [(one["name"], one["alive"], one["running"]) for one in told] == [("a", True, 2), ("b", True, 0)]


def test_health_of_the_fleet_where_this_process_only_serves(api: Api, database: Database) -> None:
    serving = api.client(works=False)
    assert serving.get("/api/v1/health").json()["status"] == "error"
    node(database, "a", running=1, completed=5, failed=1, busy_seconds=12.0)
    node(database, "b", state="draining", completed=2, cpu_percent=40.0)
    told = serving.get("/api/v1/health").json()
    assert (told["status"], told["node_id"]) == ("healthy", "fleet")
    assert (told["active_tasks"], told["completed_tasks"], told["failed_tasks"]) == (1, 7, 1)
    assert told["cpu_percent"] == 30.0
    assert told["capabilities"] == ["work"]
    data = serving.get("/api/v1/node/stats").json()["data"]
    assert data["node_info"]["max_workers"] == 8
    assert data["task_stats"]["average_time"] == 1.5
    keyless = serving.post("/api/v1/node/shutdown", json={})
    assert_problem(keyless, 409, "cannot_shut_down")


def test_the_overview(client: TestClient, database: Database) -> None:
    execute(client, task_id="a")
    execute(client, task_id="b")
    told = client.get("/api/v1/overview").json()
    assert (told["verdict"], told["cause"]) == ("no_node", "no_node")
    node(database)
    end(database, take(database, 1)[0])
    take(database, 1)
    told = client.get("/api/v1/overview").json()
    assert (told["verdict"], told["cause"], told["nodes_alive"]) == ("ok", "ok", 1)
    assert told["counts"] == {"pending": 0, "running": 1, "completed": 1, "failed": 0, "cancelled": 0}
    assert [one["task_id"] for one in told["running"]] == ["b"]
    assert [one["task_id"] for one in told["last"]] == ["a"]
    assert told["nodes"][0]["name"] == "w1"
    json.dumps(told, allow_nan=False)
