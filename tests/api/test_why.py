"""Why a task does not run, over REST."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.testclient import TestClient

from jobrunner.api.answers_fleet import WhyAnswer
from jobrunner.db.engine import Database
from jobrunner.queue.reasons import Code
from tests.api.asking import assert_problem, execute
from tests.api.test_nodes import register
from tests.both_databases.moves import take


def test_the_reasons_are_told(client: TestClient, database: Database) -> None:
    def told() -> list[str]:
        answer = client.get("/api/v1/tasks/t/why")
        WhyAnswer.model_validate_json(answer.text)
        assert answer.json()["task_id"] == "t"
        return [reason["code"] for reason in answer.json()["reasons"]]

    assert_problem(client.get("/api/v1/tasks/t/why"), 404, "task_not_found")
    execute(client, task_id="t", delay=60, queue="bars")
    client.post("/api/v1/queues/bars/pause", json={"reason": "the source is down"})
    assert told() == ["paused_queue", "not_due", "unknown_type"]
    node = register(database, "one", "work")
    assert told() == ["paused_queue", "not_due"]
    client.post(f"/api/v1/nodes/{node}/drain", json={})
    assert told() == ["paused_queue", "not_due", "node_draining"]
    execute(client, task_id="u")
    take(database, 1)
    assert client.get("/api/v1/tasks/u/why").json()["reasons"][0]["code"] == "running"


def test_the_page_tells_of_every_code_and_of_no_other() -> None:
    page = Path(__file__).parents[2] / "web" / "docs" / "why.md"
    assert set(re.findall(r"^\| `(\w+)` \|", page.read_text(), re.MULTILINE)) == set(Code)
