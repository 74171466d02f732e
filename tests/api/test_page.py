"""The page without a browser: language, escaping, the key's form and session, and what is sent to the browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api import sessions, web
from jobrunner.api.language import Language, catalogues
from jobrunner.background import schedules
from jobrunner.db.engine import Database
from jobrunner.queue import store
from jobrunner.queue.key import WEEK
from jobrunner.queue.task import Ending, Outcome
from tests.api.asking import assert_problem, execute
from tests.api.conftest import KEY, Api
from tests.api.test_tasks import node
from tests.both_databases.moves import end, take

HTML = {"accept": "text/html"}
TEMPLATES = sorted((web.folder() / "templates").glob("*.html"))
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def page(client: TestClient, query: str = "", **headers: str) -> Any:
    return client.get(f"/{query}", headers={**HTML, **headers})


def test_a_browser_gets_the_page_and_a_program_gets_json(client: TestClient) -> None:
    assert page(client).headers["content-type"].startswith("text/html")
    assert "accept" in page(client).headers["vary"].lower()
    assert client.get("/", headers={"accept": "*/*"}).headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "cookie", "accepted", "tag"),
    [
        ("", "", "", "en"),
        ("", "", "zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("", "", "zh-TW", "zh-CN"),
        ("", "", "fr;q=1, en;q=0.5, zh;q=0.9", "zh-CN"),
        ("", "", "zh;q=0", "en"),
        ("", "", "xx;q=abc,,;", "en"),
        ("", "en", "zh-CN", "en"),
        ("?lang=zh-CN", "en", "en", "zh-CN"),
        ("?lang=klingon", "zh-CN", "en", "zh-CN"),
    ],
)
def test_the_language_is_the_readers(client: TestClient, query: str, cookie: str, accepted: str, tag: str) -> None:
    headers = {"accept-language": accepted} | ({"cookie": f"jobrunner_lang={cookie}"} if cookie else {})
    answer = page(client, query, **headers)
    assert f'<html lang="{tag}">' in answer.text
    assert answer.headers["content-language"] == tag
    assert ("set-cookie" in answer.headers) == (query == "?lang=zh-CN")


def test_what_people_named_is_escaped(client: TestClient, database: Database) -> None:
    node(database, EVIL, state="active")
    execute(client, task_id=EVIL.replace("/", ""), max_attempts=1)
    execute(client, task_id="runs" + EVIL.replace("/", ""))
    first, second = take(database, 2)
    end(database, first, Outcome(Ending.ERROR, error=EVIL))
    with database.begin() as conn:
        store.progress(conn, {second.lease: (0.5, EVIL)})
        schedules.save(conn, EVIL.replace("/", ""), cron="0 3 * * *", task_type="work")
    for path in ("/?lang=en", "/live?lang=zh-CN"):
        text = client.get(path, headers=HTML).text
        assert "alert(1)" in text
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_the_live_part_is_a_part_of_the_page(client: TestClient, database: Database) -> None:
    execute(client, task_id="t")
    part = client.get("/live?lang=en").text
    assert "<html" not in part
    assert 'id="verdict"' in part
    assert "jobrunner worker" in part


def test_every_cause_has_its_words(client: TestClient, database: Database) -> None:
    assert "No node is running" in page(client, "?lang=en").text
    node(database, state="draining", running=1)
    assert "All is well" in page(client, "?lang=en").text


def test_durations() -> None:
    said = {1.26: "1.3 s", 59.6: "1 min", 61: "1 min 1 s", 900: "15 min", 3_601: "1 h", 7_500: "2 h 5 min"}
    assert {seconds: Language("en").duration(seconds) for seconds in said} == said
    assert Language("zh-CN").duration(90_061) == "1 天 1 小时"


# --- signing in ---


@pytest.fixture
def keyed(api: Api) -> TestClient:
    """A browser elsewhere, on a server with a key."""
    return api.client(api_key=KEY, host="0.0.0.0", address="203.0.113.9")


def sign_in(client: TestClient, key: str = KEY, **headers: str) -> Any:
    same = {"sec-fetch-site": "same-origin"}
    return client.post("/login", data={"key": key}, headers={**same, **HTML, **headers})


def test_the_key_is_asked_for_once(keyed: TestClient) -> None:
    form = page(keyed, "?lang=en")
    assert form.status_code == 401
    assert 'type="password"' in form.text
    assert form.headers["www-authenticate"].startswith("Bearer")
    answer = sign_in(keyed)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert KEY not in cookie
    shown = page(keyed, "?lang=en")
    assert shown.status_code == 200
    assert "Sign out" in shown.text
    assert keyed.get("/api/v1/tasks").status_code == 200
    out = keyed.post("/logout", headers={"sec-fetch-site": "same-origin"})
    assert out.status_code == 303
    assert page(keyed).status_code == 401


def test_over_https_the_cookie_never_leaves_it(api: Api) -> None:
    secure = api.client(api_key=KEY, base_url="https://jobs.example")
    cookie = sign_in(secure).headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie
    assert page(secure).status_code == 200


def test_the_cookie_has_the_port_that_the_browser_sees(api: Api) -> None:
    """Each node of a machine has its own; behind a proxy all processes have the same, whatever ports they have."""
    for host, name in {"x:8901": "jobrunner_8901", "x": "jobrunner_session", "[::1]:80": "jobrunner_80"}.items():
        answer = sign_in(api.client(api_key=KEY, port=8900), host=host)
        assert answer.headers["set-cookie"].startswith(f"{name}=")
    first, second = (api.client(api_key=KEY, port=port, base_url="http://x") for port in (8901, 8902))
    sign_in(first)
    second.cookies = first.cookies
    assert page(second).status_code == 200
    for host in ("x:y", "x:", "x:1;a=b", ":::", ""):
        assert sign_in(api.client(api_key=KEY), host=host).headers["set-cookie"].startswith("jobrunner_session=")


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], f"{KEY} x"])
def test_a_wrong_key_opens_nothing(keyed: TestClient, key: str) -> None:
    answer = sign_in(keyed, key)
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert 'role="alert"' in answer.text
    assert 'href="/?lang=zh-CN"' in answer.text  # a GET of /login itself would be nothing
    assert page(keyed).status_code == 401


def test_without_a_key_there_is_nothing_to_sign_in_to(client: TestClient) -> None:
    assert sign_in(client, "").status_code == 401


def test_a_session_may_write_only_from_our_own_page(keyed: TestClient) -> None:
    sign_in(keyed)
    path, told = "/api/v1/task/execute", {"task_type": "work"}
    assert_problem(keyed.post(path, json=told, headers={"sec-fetch-site": "cross-site"}), 403, "cross_origin")
    assert_problem(keyed.post(path, json=told, headers={"origin": "http://evil.example"}), 403, "cross_origin")
    assert keyed.post(path, json=told, headers={"sec-fetch-site": "same-origin"}).status_code == 202
    assert keyed.post(path, json=told, headers={"origin": "http://localhost:8900"}).status_code == 202
    assert_problem(sign_in(keyed, **{"sec-fetch-site": "cross-site"}), 403, "cross_origin")
    assert_problem(keyed.post("/logout", headers={"sec-fetch-site": "cross-site"}), 403, "cross_origin")


def test_a_session_ends_with_its_time_and_with_its_key(
    api: Api, keyed: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(keyed)
    other = api.client(api_key="another-long-key", host="0.0.0.0", address="203.0.113.9")
    other.cookies = keyed.cookies
    assert page(other).status_code == 401
    later = time.time() + sessions.LASTS * WEEK + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert page(keyed).status_code == 401


@pytest.mark.parametrize(
    "value",
    ["", ".", "9999999999.", "9999999999.-.00", "٣.-.00", "9" * 5_000 + ".x", "x.y.z", "é.é", "9999.-.é"],
)
def test_a_made_up_session_opens_nothing(keyed: TestClient, value: str) -> None:
    cookie = f"jobrunner_8900={value}".encode()
    answer = keyed.get("/api/v1/tasks", headers={b"cookie": cookie})
    assert_problem(answer, 401, "key_needed")


# --- what is sent ---


def test_static_files_are_kept_for_ever_under_their_version(client: TestClient) -> None:
    for name, asset in web.assets().items():
        answer = client.get(web.versioned(name))
        assert answer.status_code == 200
        assert answer.content == asset.content
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers.get("content-encoding", "") == ("gzip" if asset.packed else "")
        again = client.get(f"/static/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")
        plain = client.get(f"/static/{name}", headers={"accept-encoding": "identity"})
        assert plain.content == asset.content


@pytest.mark.parametrize("path", ["../templates/base.html", "%2e%2e/locales/en.json", "/etc/passwd", "nothing.css", ""])
def test_nothing_else_is_static(client: TestClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


def test_our_own_part_stays_light() -> None:
    sizes = {name: len(asset.content) for name, asset in web.assets().items()}
    assert sizes["app.css"] < 10_000
    assert sizes["app.js"] < 5_000
    whole = sum(len(gzip.compress(asset.content)) for asset in web.assets().values())
    assert whole < 40_000


def test_vendored_files_are_what_their_authors_published() -> None:
    home = web.folder() / "static" / "vendor"
    told = json.loads((home / "VENDOR.json").read_text())
    listed = {"VENDOR.json"}
    for package in told:
        assert package["name"]
        assert package["version"]
        assert package["integrity"].startswith("sha512-")
        names = [entry["file"] for entry in package["files"]]
        assert any("LICENSE" in name for name in names), f"{package['name']} comes without its licence"
        for entry in package["files"]:
            digest = hashlib.sha512((home / entry["file"]).read_bytes()).digest()
            assert entry["integrity"] == f"sha512-{base64.b64encode(digest).decode()}", entry["file"]
            assert package["version"] in entry["file"]
        listed |= set(names)
    assert {path.name for path in home.iterdir()} == listed


# --- templates and catalogues ---


def test_catalogues_have_the_same_keys_and_the_same_gaps() -> None:
    first, *others = catalogues().values()
    assert {"en", "zh-CN"} <= set(catalogues())
    for other in others:
        assert set(other) == set(first)
        for key, text in other.items():
            assert text.strip(), key
            assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", first[key])), key


def test_every_key_is_used_and_every_used_key_is_there() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES)
    whole = set(re.findall(r'\bt\("([^"]+)"\s*[,)]', source)) | {"language.name"}
    counted = set(re.findall(r't\.count\("([^"]+)"', source))
    starts = {*re.findall(r't\("([^"]+\.)" ~', source), "duration."}
    starts |= {f"{kind}." for kind in re.findall(r'badge\(t, "(\w+)"', source)}
    keys = set(catalogues()["en"])
    assert whole <= keys
    assert {f"{key}.{form}" for key in counted for form in ("one", "other")} <= keys
    for key in keys - whole:
        assert key.rpartition(".")[0] in counted or any(key.startswith(start) for start in starts), f"{key} is unused"


class Texts(HTMLParser):
    """Collects what a reader would see: text, and attributes that are read out."""

    SEEN = frozenset({"title", "alt", "placeholder", "aria-label", "aria-description", "label", "data-label"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.found += [value for name, value in attrs if name in self.SEEN and value]


@pytest.fixture(params=TEMPLATES, ids=[path.name for path in TEMPLATES])
def template(request: pytest.FixtureRequest) -> Texts:
    source = request.param.read_text(encoding="utf-8")
    parsed = Texts()
    parsed.feed(re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "", source, flags=re.DOTALL))
    parsed.close()
    return parsed


def test_templates_hold_no_words_of_their_own(template: Texts) -> None:
    assert [text for text in template.found if re.search(r"[^\W\d_]{2,}", text)] == []


def test_templates_hold_nothing_that_the_policy_would_refuse(template: Texts) -> None:
    for tag, attributes in template.tags:
        assert tag != "style"
        assert tag != "script" or "src" in attributes
        for name, value in attributes.items():
            assert not name.startswith(("on", "hx-on", "style")), name
            assert "javascript:" not in (value or "")
            assert not (name.startswith("hx-") and "js:" in (value or ""))
            assert not (name == "hx-trigger" and "[" in (value or "")), "a trigger's filter compiles code"


def test_tables_say_what_they_are(client: TestClient, database: Database) -> None:
    node(database)
    execute(client)
    end(database, take(database, 1)[0])
    parsed = Texts()
    parsed.feed(page(client).text)
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("table") == tags.count("caption") == 4
    headers = [attributes for tag, attributes in parsed.tags if tag == "th"]
    assert headers
    assert all(attributes.get("scope") in ("col", "row") for attributes in headers)
    assert tags.count("h1") == 1
    assert tags.count("main") == 1
