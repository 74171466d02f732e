"""The documentation as the program serves it: links, anchors, languages, what is kept, and what the policy refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api import docs, markdown, web
from jobrunner.api.language import catalogues
from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store
from tests.api.asking import assert_problem
from tests.api.conftest import KEY, Api

NAMES = sorted({path.name.partition(".")[0] for path in docs.folder().glob("*.md")})
INDEX = "# Pages\n\n## Here\n- [One](one.md), told in [two](two.md)\n- [Two](two.md#part)\n"
EVIL = "<script>alert(1)</script>\n\n<img src=x onerror=alert(1)> [a](javascript:alert(1)) `<b>` <style>*{}</style>"


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """The pages ask for keys alone, which both databases keep alike: one kind will do."""
    opened = open_database(sqlite_url)
    yield opened
    opened.dispose()


class Parts(HTMLParser):
    """The tags of a page, its words, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def anchors(self) -> list[str]:
        return [found["id"] or "" for _, found in self.tags if "id" in found]

    @property
    def links(self) -> list[str]:
        return [found["href"] or "" for tag, found in self.tags if tag == "a"]


def read(client: TestClient, name: str = "", query: str = "", **headers: str) -> Any:
    return client.get(f"/docs{'/' if name else ''}{name}{query}", headers=headers)


def test_every_page_is_served_and_keeps_the_policy(client: TestClient) -> None:
    assert len(NAMES) > 8
    for name in NAMES:
        answer = read(client, name)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        parts = Parts(answer.text)
        tags = [tag for tag, _ in parts.tags]
        assert tags.count("h1") == 1, f"{name} has one title"
        assert "script" not in tags
        assert not any("style" in found or any(key.startswith("on") for key in found) for _, found in parts.tags), name
        assert all("scope" in found for tag, found in parts.tags if tag == "th"), name
        assert len(parts.anchors) == len(set(parts.anchors)), name


def test_every_link_of_every_page_leads_to_a_page_and_to_its_part(client: TestClient) -> None:
    pages = {address: Parts(client.get(address).text) for address in map(docs.address, NAMES)}
    for address, parts in pages.items():
        for link in parts.links:
            target, _, anchor = link.partition("#")
            if "://" in link or not target.startswith("/docs"):
                assert re.match(r"https?://|#|/(\?|$|docs)", link), f"{address}: {link}"
                assert target or not anchor or anchor in parts.anchors, f"{address}: {link}"
                continue
            found = pages.get(target.partition("?")[0])
            assert found is not None, f"{address}: {link}"
            assert not anchor or anchor in found.anchors, f"{address}: {link}"


@pytest.mark.parametrize("tag", sorted(catalogues()))
def test_the_list_beside_has_every_page_in_every_language(tag: str) -> None:
    listed = [entry.name for group in docs.contents(tag) for entry in group.entries]
    assert sorted(listed) == [name for name in NAMES if name != docs.INDEX]
    assert all(group.title and entry.title for group in docs.contents(tag) for entry in group.entries)
    assert listed == [entry.name for group in docs.contents("en") for entry in group.entries]


def test_the_frame_and_the_index_speak_the_readers_language(client: TestClient) -> None:
    english, chinese = read(client, query="?lang=en").text, read(client, query="?lang=zh-CN").text
    assert '<html lang="en">' in english
    assert '<html lang="zh-CN">' in chinese
    assert "文档目录" in chinese
    assert Parts(chinese).links != Parts(english).links  # the links of the languages lead to this very page
    assert "/docs?lang=en" in Parts(chinese).links
    page = read(client, "tasks", "?lang=zh-CN").text
    assert '<main id="main" class="text" lang="en">' in page
    assert "本页为英文" in page
    assert "/docs/tasks?lang=en" in Parts(page).links
    assert '<main id="main" class="text">' in read(client, "tasks", "?lang=en").text


def test_a_page_that_did_not_change_is_not_sent_again(client: TestClient) -> None:
    first = read(client, "tasks")
    assert first.headers["cache-control"] == "private, no-cache"
    assert {"Accept-Language", "Cookie"} <= set(first.headers["vary"].split(", "))
    tag = first.headers["etag"]
    for told in (tag, f"W/{tag}", f'"other", {tag}'):
        again = read(client, "tasks", **{"if-none-match": told})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for other in (read(client, "rest"), read(client, "tasks", "?lang=zh-CN")):
        assert other.headers["etag"] != tag
    assert read(client, "tasks", "?lang=zh-CN", **{"if-none-match": tag}).status_code == 200


def test_a_changed_file_is_a_changed_page(client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(docs, "folder", lambda: tmp_path)
    (tmp_path / "index.md").write_text(INDEX)
    (tmp_path / "one.md").write_text("# One `day`\n\n## Twice\n## Twice\n")
    first = read(client, "one")
    assert Parts(first.text).anchors == ["main", "one-day", "twice", "twice-1"]
    assert "<title>One day · jobrunner</title>" in first.text
    (tmp_path / "one.md").write_text(f"# Other\n\n| a | b |\n|---|--:|\n| 1 | {EVIL.splitlines()[0]} |\n\n{EVIL}\n")
    second = read(client, "one")
    assert second.headers["etag"] != first.headers["etag"]
    assert "<script>" not in second.text
    assert "<img src=x" not in second.text
    assert "javascript:" not in str(Parts(second.text).links)
    assert '<td class="end">' in second.text
    (group,) = docs.contents("en", "/under")
    assert [(entry.address, entry.title) for entry in group.entries] == [
        ("/under/docs/one", "One"),
        ("/under/docs/two#part", "Two"),
    ]


def test_links_hold_under_a_path(api: Api) -> None:
    found = docs.find("tasks", "en", "/under")
    assert found is not None
    assert 'href="/under/docs/testing"' in found.html


@pytest.mark.parametrize("name", ["nothing", "index.zh-CN", "tasks.md", "%2e%2e", "..%2flocales%2fen", "*", "tasks/"])
def test_nothing_else_is_a_page(client: TestClient, name: str) -> None:
    assert_problem(client.get(f"/docs/{name}"), 404, "no_such_path")


def test_a_key_of_one_queue_may_read_it_and_nobody_without_a_key(api: Api, database: Database) -> None:
    with database.begin() as conn:
        key = store.issue_key(conn, "of one queue", ["read"], queues=["sums"])
        submits = store.issue_key(conn, "submits", ["submit"])
    far = api.client(api_key=KEY, host="0.0.0.0", address="203.0.113.9", base_url="http://api.example")
    assert_problem(read(far), 401, "key_needed")
    assert read(far, "tasks", **{"x-api-key": key.text}).status_code == 200
    assert_problem(read(far, "tasks", **{"x-api-key": submits.text}), 403, "forbidden")


def test_the_page_leads_to_it_and_the_form_for_the_key_does_not(api: Api, client: TestClient) -> None:
    html = {"accept": "text/html"}
    assert "/docs" in Parts(client.get("/", headers=html).text).links
    keyed = api.client(api_key=KEY, host="0.0.0.0", address="203.0.113.9")
    assert "/docs" not in Parts(keyed.get("/", headers=html).text).links


def test_a_heading_is_found_by_its_words_and_code_can_be_scrolled_with_the_keyboard() -> None:
    told = markdown.render("# A `b` [c](d.md)\n\n```bash\na < b\n```\n", docs.linker(""))
    assert told.headings == (markdown.Heading(1, "A b c", "a-b-c"),)
    assert '<pre tabindex="0"><code class="language-bash">a &lt; b' in told.html
    assert 'href="/docs/d"' in told.html
    assert markdown.render("# A `b` [c](d.md)\n\n```bash\na < b\n```\n", docs.linker("")) is told


def test_its_style_stays_light() -> None:
    assert len(web.assets()["docs.css"].content) < 4_000
