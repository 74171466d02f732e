"""Short words for what these tests ask again and again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from starlette.testclient import TestClient

from jobrunner.db.engine import Database
from jobrunner.db.tables import schedules, tasks

EXECUTE = "/api/v1/task/execute"


def execute(client: TestClient, **told: Any) -> Any:
    return client.post(EXECUTE, json={"task_type": "work", **told})


def stored(database: Database) -> int:
    """How many tasks and schedules there are."""
    with database.read() as conn:
        found = [conn.execute(select(func.count()).select_from(table)).scalar_one() for table in (tasks, schedules)]
    return int(sum(found))


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """That the answer is the problem it should be; returns its body."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told: dict[str, Any] = answer.json()
    assert told["code"] == code
    assert told["status"] == status
    assert told["request_id"] == answer.headers["x-request-id"]
    assert told["detail"]
    assert told["title"]
    assert told["type"].endswith(code)
    return told
