"""Why a task does not run, over REST."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import update
from starlette.testclient import TestClient

from jobrunner.api.answers_fleet import WhyAnswer
from jobrunner.db.engine import Database
from jobrunner.db.tables import tasks
from jobrunner.queue import store
from jobrunner.queue.reasons import Code
from tests.api.asking import assert_problem, execute
from tests.api.test_nodes import register
from tests.both_databases.moves import take

GONE = "it runs, in attempt 1; its node is gone, and it is taken back when its lease has ended"


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
    (reason,) = client.get("/api/v1/tasks/u/why").json()["reasons"]
    assert (reason["code"], "gone" in reason["detail"], reason["until"] is None) == ("running", True, False)
    with database.begin() as conn:
        conn.execute(update(tasks).values(node_id=node))
    (reason,) = client.get("/api/v1/tasks/u/why").json()["reasons"]
    assert (reason["detail"], reason["until"]) == ("it runs, in attempt 1", None)
    with database.begin() as conn:
        store.stopped(conn, node, "the test says so")
    (reason,) = client.get("/api/v1/tasks/u/why").json()["reasons"]
    lease = client.get("/api/v1/tasks/u").json()["lease_until"]
    assert (reason["detail"], reason["until"]) == (GONE, lease)
    client.post("/api/v1/tasks/u/cancel", json={})
    (reason,) = client.get("/api/v1/tasks/u/why").json()["reasons"]
    assert reason["detail"].endswith("was asked to end; its node is gone, and it is cancelled when its lease has ended")


def test_the_page_tells_of_every_code_and_of_no_other() -> None:
    page = Path(__file__).parents[2] / "web" / "docs" / "why.md"
    assert set(re.findall(r"^\| `(\w+)` \|", page.read_text(), re.MULTILINE)) == set(Code)
