"""Figures for Prometheus, read by its own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store
from jobrunner.queue.task import Ending, Outcome
from tests.api.asking import execute
from tests.api.conftest import Api


def figures(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def of(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_the_queue_in_figures(client: TestClient, database: Database) -> None:
    for number in range(3):
        execute(client, task_id=f"t-{number}", queue="slow", task_data={"secret": "canary"})
    with database.begin() as conn:
        task, *_ = store.claim(conn, "n", types=["work"], queues=None, limit=2, lease_seconds=30)
        store.settle(conn, [(task, Outcome(Ending.COMPLETED, result="{}"))])
    found = figures(client)
    assert of(found, "jobrunner_database_up") == 1
    statuses = {status: of(found, "jobrunner_tasks", status=status) for status in ("pending", "running", "completed")}
    assert statuses == {"pending": 1, "running": 1, "completed": 1}
    assert of(found, "jobrunner_queue_pending", queue="slow") == 1
    assert of(found, "jobrunner_queue_running", queue="slow") == 1
    assert of(found, "jobrunner_tasks_ended_recently") == 1
    assert of(found, "jobrunner_task_ran_seconds", quantile="0.5") > 0
    assert 0 <= of(found, "jobrunner_task_waited_seconds", quantile="0.99") < 60
    assert "canary" not in str(found)
    assert "t-0" not in str(found)


def test_calls_are_counted_by_route_and_not_by_what_callers_write(client: TestClient) -> None:
    for path in ("/api/v1/tasks/a", "/api/v1/tasks/b", "/nothing/here", "/nothing/there"):
        client.get(path)
    execute(client)
    found = figures(client)
    name = "jobrunner_http_request_seconds_count"
    assert of(found, name, method="GET", route="/api/v1/tasks/{task_id}", status="404") == 2
    assert of(found, name, method="GET", route="none", status="404") == 2
    assert of(found, name, method="POST", route="/api/v1/task/execute", status="202") == 1


def test_methods_that_callers_make_up_are_one_figure(client: TestClient) -> None:
    for number in range(20):
        assert client.request(f"MADEUP{number}", "/healthz").status_code == 405
    found = figures(client)
    assert of(found, "jobrunner_http_request_seconds_count", method="other", route="/healthz", status="405") == 20
    assert "MADEUP" not in str(found)


def test_without_its_database_it_says_so_and_goes_on() -> None:
    opened = open_database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    try:
        key = "a-key-of-this-test"
        client = Api(opened).client(api_key=key, headers={"x-api-key": key})
        found = figures(client)
        assert of(found, "jobrunner_database_up") == 0
        assert not any(name.startswith("jobrunner_tasks") for name, _ in found)
    finally:
        opened.dispose()
