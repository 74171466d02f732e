"""The doors: every route against every kind of caller, generated from the table of routes itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from jobrunner.api import create_app
from jobrunner.api.route import Route
from jobrunner.api.routes import TABLE
from jobrunner.db.engine import open_database
from jobrunner.queue.key import Scope
from jobrunner.settings import Settings
from tests.api.asking import EXECUTE, assert_problem, execute
from tests.api.conftest import KEY, Api

CALLS = [(method, row.path, row) for row in TABLE for method in row.methods]
NAMES = [f"{method} {path}" for method, path, _ in CALLS]
GUARDED = [(call, name) for call, name in zip(CALLS, NAMES, strict=True) if call[2].scope is not Scope.OPEN]


def ask(client: TestClient, method: str, path: str, headers: dict[str, str] | None = None) -> Any:
    filled = re.sub(r"\{(\w+)(:path)?\}", lambda found: f"the-{found[1]}", path)
    body = {"content-type": "application/json"} if method != "GET" else {}
    return client.request(method, filled, headers={**body, **(headers or {})})


def admitted(answer: Any) -> bool:
    """Whether the door let the request in: then only the endpoint can have refused it."""
    return answer.status_code not in (401, 403, 415, 421)


@pytest.fixture
def sqlite_api(sqlite_url: str) -> Iterator[Api]:
    """The doors ask no database, so one kind will do."""
    opened = open_database(sqlite_url)
    yield Api(opened)
    opened.dispose()


def endless(path: str) -> bool:
    return path.endswith("/events")


@pytest.mark.parametrize(("call", "name"), GUARDED, ids=[name for _, name in GUARDED])
def test_every_guarded_route_against_every_caller(sqlite_api: Api, call: Any, name: str) -> None:
    method, path, row = call
    keyed = sqlite_api.client(api_key=KEY, allow_from=["10.0.0.0/8"], host="0.0.0.0")
    far = sqlite_api.client(api_key=KEY, host="0.0.0.0", address="203.0.113.9")
    near = sqlite_api.client(allow_from=["10.0.0.0/8"], host="0.0.0.0", address="10.1.2.3")
    stranger = sqlite_api.client(allow_from=["10.0.0.0/8"], host="0.0.0.0", address="203.0.113.9")
    here = sqlite_api.client()

    assert_problem(ask(keyed, method, path), 401, "key_needed")
    assert_problem(ask(far, method, path), 401, "key_needed")
    for wrong in ({"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}, {"x-api-key": f"{KEY}x"}):
        for client in (keyed, far, near, here):
            assert_problem(ask(client, method, path, wrong), 401, "wrong_key")
    assert_problem(ask(stranger, method, path), 403, "forbidden")
    if row.scope in (Scope.OPERATE, Scope.ADMIN):
        assert_problem(ask(near, method, path), 403, "forbidden")
    assert_problem(ask(here, method, path, {"host": "evil.example"}), 421, "wrong_host")
    if endless(path):
        return  # admitted callers get a stream: tests of events read it
    for right in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}):
        assert admitted(ask(far, method, path, right)), name
    assert admitted(ask(here, method, path)), name
    if row.scope in (Scope.READ, Scope.SUBMIT):
        assert admitted(ask(near, method, path)), name


def test_only_what_holds_no_secret_is_open() -> None:
    assert {path for _, path, row in CALLS if row.scope is Scope.OPEN} == {
        "/healthz",
        "/readyz",
        "/",  # asks the door itself, so that it can show the form
        "/login",
        "/logout",
        "/static/{path:path}",
    }


def test_a_route_without_a_scope_keeps_the_app_from_starting(sqlite_api: Api) -> None:
    async def anything(_call: Any) -> dict[str, Any]:
        return {}

    with pytest.raises(TypeError, match="declares no scope"):
        create_app(sqlite_api.service(), [Route("/open", anything)])
    with pytest.raises(TypeError, match="twice"):
        create_app(sqlite_api.service(), [Route("/a", anything, scope=Scope.READ)] * 2)


def test_root_asks_the_door_as_well(api: Api) -> None:
    far = api.client(api_key=KEY, host="0.0.0.0", address="203.0.113.9")
    assert_problem(far.get("/"), 401, "key_needed")
    assert_problem(far.get("/", headers={"x-api-key": "wrong", "accept": "text/html"}), 401, "wrong_key")
    assert far.get("/", headers={"x-api-key": KEY}).status_code == 200
    stranger = api.client(allow_from=["10.0.0.0/8"], host="0.0.0.0", address="203.0.113.9")
    assert_problem(stranger.get("/", headers={"accept": "text/html"}), 403, "forbidden")


@pytest.mark.parametrize(
    "path", ["//api/v1/tasks", "/api/v1/tasks/", "/api/v1/%2e%2e/v1/tasks", "/API/v1/tasks", "/@/"]
)
def test_odd_paths_open_no_door(api: Api, path: str) -> None:
    far = api.client(api_key=KEY, host="0.0.0.0", address="203.0.113.9")
    assert far.get(f"http://localhost:8900{path}").status_code in (401, 404)


def test_nothing_but_loopback_reaches_a_node_without_key(api: Api) -> None:
    assert_problem(api.client(address="192.168.1.7").get("/api/v1/tasks"), 403, "forbidden")
    assert api.client(address="::1", base_url="http://[::1]:8900").get("/api/v1/tasks").status_code == 200
    assert api.client(address="::ffff:127.0.0.1").get("/api/v1/tasks").status_code == 200
    assert_problem(api.client(address="testclient").get("/api/v1/tasks"), 403, "forbidden")


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
def test_a_header_that_names_somebody_opens_no_door(api: Api, header: str) -> None:
    allowed = api.client(allow_from=["10.0.0.0/8"], host="0.0.0.0", address="10.1.2.3", base_url="http://10.1.2.9")
    assert allowed.get("/api/v1/tasks").status_code == 200
    assert_problem(allowed.get("/api/v1/tasks", headers={header: "10.1.2.4"}), 403, "forbidden")
    here = api.client(address="127.0.0.1")
    assert_problem(here.get("/api/v1/tasks", headers={header: "127.0.0.1"}), 403, "forbidden")
    keyed = api.client(api_key=KEY, allow_from=["10.0.0.0/8"], host="0.0.0.0", address="127.0.0.1")
    assert_problem(keyed.get("/api/v1/tasks", headers={header: "10.1.2.3"}), 401, "key_needed")
    assert keyed.get("/api/v1/tasks", headers={header: "10.1.2.3", "x-api-key": KEY}).status_code == 200


@pytest.mark.parametrize(
    ("host", "right"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:8900", True),
        ("[::1]:8900", True),
        ("localhost.evil.example", False),
        ("evil.example:8900", False),
        ("evil@localhost", False),
        ("localhost/evil", False),
        ("", False),
    ],
)
def test_without_a_key_the_host_must_be_this_machine(client: TestClient, host: str, right: bool) -> None:
    answer = client.get("/api/v1/tasks", headers={"host": host})
    assert answer.status_code == (200 if right else 421)


@pytest.mark.parametrize(
    ("host", "trusted", "right"),
    [
        ("10.0.0.5:8900", [], True),
        ("worker-2:8900", [], True),
        ("worker-2.evil.example", [], False),
        ("worker-2.lan.example", ["worker-2.lan.example"], True),
        ("worker-2", ["worker-2.lan.example"], False),
    ],
)
def test_an_allowed_network_may_not_be_led_here_by_a_foreign_name(
    api: Api, host: str, trusted: list[str], right: bool
) -> None:
    near = api.client(allow_from=["10.0.0.0/8"], host="0.0.0.0", address="10.1.2.3", trusted_hosts=trusted)
    assert near.get("/api/v1/tasks", headers={"host": host}).status_code == (200 if right else 421)


def test_no_other_sites_page_may_write(client: TestClient) -> None:
    told = {"task_type": "work"}
    for foreign in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
    ):
        assert_problem(client.post(EXECUTE, json=told, headers=foreign), 403, "cross_origin")
    assert client.post(EXECUTE, json=told, headers={"origin": "http://localhost:8900"}).status_code == 202
    assert client.post(EXECUTE, json=told, headers={"sec-fetch-site": "same-origin"}).status_code == 202


def test_no_answer_allows_another_origin(client: TestClient) -> None:
    for method in ("GET", "OPTIONS", "POST"):
        answer = client.request(method, EXECUTE, headers={"origin": "http://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_post_without_key_must_say_that_it_is_json(client: TestClient) -> None:
    assert_problem(client.post("/api/v1/tasks/t/cancel"), 415, "json_needed")
    assert_problem(client.post("/api/v1/tasks/t/cancel", json={}), 404, "task_not_found")


def test_with_a_key_a_post_needs_no_body(api: Api) -> None:
    keyed = api.admin()
    assert_problem(keyed.post("/api/v1/tasks/t/cancel"), 404, "task_not_found")


def test_a_network_may_read_and_submit_and_no_more(api: Api) -> None:
    near = api.client(allow_from=["10.0.0.0/8"], host="0.0.0.0", address="10.1.2.3", base_url="http://10.0.0.5")
    assert execute(near, task_id="t").status_code == 202
    assert near.get("/api/v1/task/t/status").status_code == 200
    assert_problem(near.post("/api/v1/tasks/t/cancel", json={}), 403, "forbidden")


def test_the_key_stands_in_no_answer(api: Api) -> None:
    keyed = api.admin()
    for path in ("/", "/api/v1/health", "/api/v1/node/stats", "/api/v1/overview", "/nothing"):
        assert KEY not in keyed.get(path).text


def test_settings_refuse_what_would_make_a_door_useless() -> None:
    with pytest.raises(ValueError, match="8 characters"):
        Settings(api_key=SecretStr("short"))
