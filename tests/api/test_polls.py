"""Submitting with a wait, polling with a tag, and repeating a request safely."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from jobrunner.api import create_app, keyring
from jobrunner.db.engine import Database
from jobrunner.queue import store
from tests.api.asking import EXECUTE, assert_problem, execute, stored
from tests.api.conftest import KEY, Api
from tests.api.serving import serving
from tests.both_databases.moves import add, end, take

STATUS = {"task_id", "status", "result", "error", "started_at", "completed_at", "execution_time"}
TASK = {"task_id", "status", "message", "started_at", "completed_at"}
POLLS = ["/api/v1/task/t/status", "/api/v1/tasks/t"]


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with serving(create_app(api.service())) as found:
        yield found
        api.asked.stopping = True


@contextmanager
def working(database: Database) -> Iterator[None]:
    """Somebody claims and completes whatever comes, and tells nobody."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.02):
            for task in take(database):
                end(database, task)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join(10)


def post(url: str, prefer: str = "wait=20", **told: Any) -> httpx2.Response:
    return httpx2.post(url + EXECUTE, json={"task_type": "work", **told}, headers={"prefer": prefer}, timeout=30)


def test_a_submission_that_waits_is_answered_with_the_result_in_one_round_trip(url: str, database: Database) -> None:
    with working(database):
        answer = post(url)
        told = answer.json()
        assert (answer.status_code, set(told), told["status"]) == (200, STATUS, "completed")
        assert told["result"] == {"ok": True}
        assert answer.headers["preference-applied"] == "wait=20"
        assert answer.headers["location"] == f"/api/v1/task/{told['task_id']}/status"
        assert "idempotent-replayed" not in answer.headers
        again = post(url, task_id="t")
        replay = post(url, task_id="t")
    assert (again.status_code, replay.status_code) == (200, 200)
    assert replay.headers["idempotent-replayed"] == "true"
    assert replay.json() == again.json()


def test_a_submission_that_waits_in_vain_is_accepted(url: str, database: Database) -> None:
    began = time.monotonic()
    answer = post(url, "wait=1", task_id="t")
    assert 1 <= time.monotonic() - began < 6
    assert (answer.status_code, set(answer.json()), answer.json()["message"]) == (202, TASK, "accepted")
    assert (answer.headers["preference-applied"], answer.headers["retry-after"]) == ("wait=1", "1")
    again = post(url, "wait=0", task_id="t")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert again.json()["message"] == "this task was submitted before"
    plain = post(url, "respond-async", task_id="t")
    assert (plain.status_code, plain.headers.get("preference-applied")) == (200, None)


@pytest.mark.parametrize("path", POLLS)
def test_a_poll_that_prefers_to_wait_tells_by_its_status_whether_it_is_over(
    url: str, database: Database, path: str
) -> None:
    add(database, task_id="t")
    early = httpx2.get(url + path, headers={"prefer": "wait=1"})
    assert (early.status_code, early.headers["preference-applied"]) == (202, "wait=1")
    assert early.json()["status"] == "pending"
    assert httpx2.get(url + path, params={"wait": "0.1"}).status_code == 200
    with working(database):
        late = httpx2.get(url + path, headers={"prefer": "wait=20"}, timeout=30)
    assert (late.status_code, late.json()["status"]) == (200, "completed")


@pytest.mark.parametrize("path", POLLS)
def test_a_poll_tells_only_what_is_new(client: TestClient, database: Database, path: str) -> None:
    add(database, task_id="t")

    def tag() -> str:
        answer = client.get(path)
        assert answer.status_code == 200
        found: str = answer.headers["etag"]
        for known in (found, found.removeprefix("W/"), f'"x", {found}', "*"):
            same = client.get(path, headers={"if-none-match": known})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", found)
        for other in ('"x"', f'"{found}"', ""):
            assert client.get(path, headers={"if-none-match": other}).status_code == 200
        return found

    tags = [tag()]
    task = take(database)[0]
    tags.append(tag())
    end(database, task)
    tags.append(tag())
    assert len(set(tags)) == 3
    early = client.get(path, headers={"if-none-match": tags[0], "prefer": "wait=1"})
    assert (early.status_code, early.headers["preference-applied"]) == (200, "wait=1")


def test_progress_changes_the_tag_of_the_whole_task_alone(client: TestClient, database: Database) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    before = [client.get(path).headers["etag"] for path in POLLS]
    with database.begin() as conn:
        store.progress(conn, {task.lease: (0.5, "half")})
    after = [client.get(path).headers["etag"] for path in POLLS]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]


def test_a_key_in_the_header_is_the_task_id(client: TestClient, database: Database) -> None:
    def keyed(key: str, **told: Any) -> Any:
        return client.post(
            EXECUTE, json={"task_type": "work", **told}, headers={b"idempotency-key": key.encode("latin-1")}
        )

    first, again = keyed('"8e03"'), keyed("8e03")
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["task_id"] == again.json()["task_id"] == "8e03"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert keyed("8e03", task_id="8e03").status_code == 200
    told = assert_problem(keyed("8e03", task_id="other"), 422, "invalid_input")
    assert told["errors"][0]["pointer"] == "Idempotency-Key"
    for bad in ("a/b", '"', '"a', '"\xc3\xa9"', "\xc3", '"a"b"'):
        assert_problem(keyed(bad), 422, "invalid_input")
    assert_problem(keyed("8e03", task_data={"other": 1}), 409, "task_exists")
    assert stored(database) == 1


def test_an_open_task_with_the_unique_key_is_no_replay(client: TestClient) -> None:
    execute(client, unique_key="k")
    again = execute(client, unique_key="k")
    assert (again.status_code, again.headers.get("idempotent-replayed")) == (200, None)


def test_who_may_only_submit_gets_no_result_of_another_request(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    with database.begin() as conn:
        text = store.issue_key(conn, "writer", ["submit"]).text
    writer = api.client(api_key=KEY, headers={"x-api-key": text, "prefer": "wait=1"})
    add(database, unique_key="k", task_id="theirs", payload={"secret": 1})
    answer = execute(writer, unique_key="k")
    assert (answer.status_code, set(answer.json()), answer.headers.get("preference-applied")) == (200, TASK, None)
    equal = execute(writer, task_id="theirs", task_data={"secret": 1})
    assert (equal.status_code, set(equal.json()), equal.headers.get("preference-applied")) == (200, TASK, None)
    assert execute(writer, task_id="own").headers["preference-applied"] == "wait=1"
