"""Headers on every answer, ids in and out, and errors that keep our inside to ourselves."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api import create_app
from jobrunner.api.frame import HEADERS
from jobrunner.api.problems import TABLE as PROBLEMS
from jobrunner.api.route import Call, Route
from jobrunner.db.engine import open_database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue.key import Scope
from tests.api.asking import assert_problem
from tests.api.conftest import FACTS, Api
from tests.api.test_doors import CALLS, NAMES, ask, endless


def assert_framed(answer: Any) -> None:
    for name, value in HEADERS.items():
        if name != "Cache-Control":
            assert answer.headers[name] == value
    assert answer.headers["x-request-id"]
    assert "server" not in answer.headers
    assert "'unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_every_route_answers_in_the_frame(client: TestClient, call: Any) -> None:
    method, path, _ = call
    if endless(path):
        path = "/api/v1/events/"  # the stream itself is read by the tests of events
    answer = ask(client, method, path)
    assert_framed(answer)
    if not path.startswith(("/static", "/docs")):
        assert answer.headers["cache-control"] == "no-store"
    assert_framed(client.request("PATCH", "/api/v1/tasks"))
    assert_framed(client.get("/nothing/here"))


def test_404_and_405_are_problems(client: TestClient) -> None:
    assert_problem(client.get("/nothing"), 404, "no_such_path")
    answer = client.patch("/api/v1/schedules", json={})
    assert_problem(answer, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


def test_the_request_id_goes_in_and_out(client: TestClient) -> None:
    assert client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for odd in ("a b", "x" * 101, "<script>", ""):
        given = client.get("/healthz", headers={"x-request-id": odd}).headers["x-request-id"]
        assert given not in ("", odd)


def test_a_fault_of_ours_tells_nothing(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    def breaks(_call: Call) -> dict[str, Any]:
        raise RuntimeError("postgresql://me:hunter2@db/secret")

    app = create_app(api.service(), [Route("/breaks", breaks, scope=Scope.OPEN)])
    answer = TestClient(app, raise_server_exceptions=False).get("/breaks")
    assert_framed(answer)
    told = assert_problem(answer, 500, "internal_error")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    assert told["request_id"] in caplog.text


def test_a_lost_database_is_503_and_tells_no_address(api: Api) -> None:
    def lost(_call: Call) -> dict[str, Any]:
        raise DatabaseUnavailable("connection to server at 10.0.0.7 failed for user me")

    app = create_app(api.service(), [Route("/lost", lost, scope=Scope.OPEN)])
    answer = TestClient(app).get("/lost")
    assert_problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"]
    assert "10.0.0.7" not in answer.text


def test_every_error_of_the_table_has_a_code_of_its_own() -> None:
    codes = [code for _, _, code in PROBLEMS]
    assert len(set(codes)) == len(codes)


def test_readiness(api: Api, client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "is_node": None}
    asked = {name: client.get("/healthz", params={"node": name}).json()["is_node"] for name in (FACTS.node_id, "x")}
    assert asked == {FACTS.node_id: True, "x": False}
    assert client.get("/readyz").json() == {"status": "ready", "reasons": []}
    api.asked.stopping = True
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["draining"])
    assert client.get("/healthz").status_code == 200


def test_readiness_without_tables(empty_database_url: str) -> None:
    opened = open_database(empty_database_url)
    try:
        with opened.begin():
            pass  # SQLite's file exists from here on
        answer = Api(opened).client().get("/readyz")
        assert answer.status_code == 503
        assert "jobrunner db upgrade" in answer.json()["reasons"][0]
    finally:
        opened.dispose()


def test_without_its_database_the_process_lives_and_says_so() -> None:
    opened = open_database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    try:
        client = Api(opened).admin()
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").json()["reasons"] == ["the database does not answer"]
        assert client.get("/api/v1/health").json()["status"] == "error"
        assert_problem(client.get("/api/v1/tasks"), 503, "database_unavailable")
        page = client.get("/?lang=en", headers={"accept": "text/html"})
        assert (page.status_code, "The database does not answer" in page.text) == (503, True)
        fleet = Api(opened).admin(works=False)
        assert fleet.get("/api/v1/health").json()["status"] == "error"
        assert_problem(fleet.get("/api/v1/node/stats"), 503, "database_unavailable")
        # Nobody knows which keys there are, and so nobody comes in without one.
        assert_problem(Api(opened).client().get("/api/v1/health"), 503, "database_unavailable")
    finally:
        opened.dispose()
