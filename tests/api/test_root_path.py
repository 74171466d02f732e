"""Behind a proxy that serves it under a path and takes that off: every address that it tells leads back to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
from starlette.testclient import TestClient

from jobrunner.api import create_app
from jobrunner.client import Client, Request
from jobrunner.client.errors import Refused
from jobrunner.client.remote import Remote
from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store
from tests.api.asking import EXECUTE
from tests.api.conftest import KEY, Api
from tests.api.serving import serving
from tests.api.streams import EVENTS, streaming
from tests.both_databases.moves import take
from tests.stripping import Stripping

ROOT = "/at/tasks"
SETTINGS: dict[str, Any] = {"api_key": KEY, "root_path": ROOT}
HTML = {"accept": "text/html"}
ADDRESSES = ("href", "src", "action", "hx-get", "hx-sse:connect")


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """Which database it is makes no difference to addresses: one kind will do."""
    opened = open_database(sqlite_url, pool_size=6)
    yield opened
    opened.dispose()


@pytest.fixture
def proxy(api: Api) -> Iterator[Stripping]:
    with serving(create_app(api.service(**SETTINGS)), **SETTINGS) as url:
        with Stripping(ROOT, int(url.rpartition(":")[2])) as stripping:
            yield stripping


@pytest.fixture
def keyed(proxy: Stripping) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=proxy.url, headers={"X-API-Key": KEY}, timeout=20) as client:
        yield client


class Addresses(HTMLParser):
    """Everything that a page leads to, or loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attrs if name in ADDRESSES and value}


def _own(text: str) -> set[str]:
    return {found.partition("#")[0] for found in Addresses(text).found if not re.match(r"https?://|#|mailto:", found)}


def test_every_address_on_the_pages_leads_to_something(
    keyed: httpx2.Client, proxy: Stripping, database: Database
) -> None:
    keyed.post(EXECUTE, json={"task_type": "work", "task_id": "one two"})
    (taken,) = take(database, 1)
    with database.begin() as conn:  # what runs is linked
        store.progress(conn, {taken.lease: (0.5, "half")})
    left, seen = {f"{ROOT}/", f"{ROOT}/docs"}, set[str]()
    while left:
        address = left.pop()
        seen.add(address)
        assert address.startswith(f"{ROOT}/"), address
        if address.endswith(("/api/v1/events", "/logout", "/login")):  # a stream, and what is posted
            continue
        answer = keyed.get(f"{proxy.origin}{address}", headers=HTML)
        assert answer.status_code == 200, address
        if answer.headers["content-type"].startswith("text/html"):
            left |= {urljoin(f"{proxy.origin}{address}", one).removeprefix(proxy.origin) for one in _own(answer.text)}
            left -= seen
    kinds = ("/live?", "/static/app.css?", "/static/vendor/htmx", "/docs/howto-proxy", "/api/v1/tasks/", "?lang=")
    assert [kind for kind in kinds if not any(kind in address for address in seen)] == []
    assert {f"{ROOT}/api/v1/events", f"{ROOT}/docs"} <= seen


def test_a_session_begins_and_ends_under_the_path(proxy: Stripping) -> None:
    with httpx2.Client(timeout=20, headers=HTML) as browser:
        asked = browser.get(f"{proxy.url}/")
        assert (asked.status_code, f'action="{ROOT}/login"' in asked.text) == (401, True)
        answer = browser.post(f"{proxy.url}/login", data={"key": KEY})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{ROOT}/")
        assert f"Path={ROOT};" in answer.headers["set-cookie"]
        assert browser.get(f"{proxy.url}/").status_code == 200
        assert f"Path={ROOT};" in browser.get(f"{proxy.url}/?lang=zh-CN").headers["set-cookie"]
        assert 'lang="zh-CN"' in browser.get(f"{proxy.url}/docs").text
        answer = browser.post(f"{proxy.url}/logout")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{ROOT}/")
        assert browser.get(f"{proxy.url}/").status_code == 401


@pytest.mark.parametrize(("root", "name"), [("", "__Host-"), (ROOT, "__Secure-")])
def test_over_https_the_cookie_has_the_name_that_its_path_allows(api: Api, root: str, name: str) -> None:
    with TestClient(
        create_app(api.service(api_key=KEY)), "https://x", root_path=root, follow_redirects=False
    ) as browser:
        cookie = browser.post(f"{root}/login", data={"key": KEY}).headers["set-cookie"]
    assert cookie.startswith(name)
    assert f"Path={root or '/'};" in cookie
    assert "Secure" in cookie


def test_headers_lead_back(keyed: httpx2.Client, proxy: Stripping) -> None:
    def follow(answer: Any, header: str) -> Any:
        told = answer.headers[header]
        address = told.removeprefix("<").removesuffix('>; rel="next"')
        assert address.startswith(f"{ROOT}/api/v1/")
        found = keyed.get(f"{proxy.origin}{address}")
        assert found.status_code == 200, address
        return found.json()

    for name in ("one", "two a@b"):
        answer = keyed.post(EXECUTE, json={"task_type": "work", "task_id": name})
        assert follow(answer, "location")["task_id"] == name
    assert follow(keyed.post("/api/v1/tasks/one/rerun", json={}), "location")["status"] == "pending"
    keyed.post("/api/v1/schedules", json={"name": "s", "every": 3600, "task_type": "work"})
    assert follow(keyed.post("/api/v1/schedules/s/run", json={}), "location")["task_id"].startswith("s@")
    begun = keyed.post("/api/v1/operations", json={"action": "cancel", "filter": {"queue": "none"}})
    assert follow(begun, "location")["id"] == begun.json()["id"]
    assert follow(keyed.get("/api/v1/tasks?limit=1"), "link")["tasks"][0]["task_id"] != ""


def test_the_document_says_where_its_calls_are(keyed: httpx2.Client, api: Api) -> None:
    for path in ("/api/v1/openapi.json", "/openapi.json"):
        told = keyed.get(path).json()
        assert told["servers"] == [{"url": ROOT}]
        assert "/api/v1/tasks" in told["paths"]
    assert "servers" not in api.client().get("/openapi.json").json()


def test_streams_pass(api: Api, proxy: Stripping, keyed: httpx2.Client) -> None:
    with streaming(api, proxy.url, EVENTS, x_api_key=KEY) as stream:
        stream.wait_for(1)
        keyed.post(EXECUTE, json={"task_type": "work", "task_id": "one"})
        stream.wait_for(2)
    assert [event for _, event, *_ in stream.seen][:2] == ["snapshot", "changed"]


def test_clients_go_through_it(proxy: Stripping) -> None:
    with Client(f"{proxy.url}/", api_key=KEY, patience=5) as client:
        assert client.submit("work", task_id="one").task_id == "one"
        assert len(client.submit_many([Request("work"), Request("work")])) == 2
        client.cancel("one")
        assert [seen.status for seen in client.handle("one").events()] == ["cancelled"]
    with Remote(proxy.url, KEY) as desk:
        assert [node["id"] for node in desk.nodes()["nodes"]] == []
        assert desk.task("one")["status"] == "cancelled"
    assert all(path.startswith(f"{ROOT}/api/v1/") for path in proxy.seen)
    with Remote(proxy.origin, KEY) as desk, pytest.raises(Refused, match="404"):
        desk.task("one")
