"""What is refused, with what is wrong and where; and that nothing of it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.db.engine import Database
from jobrunner.queue.views.cursors import cursor
from tests.api.asking import EXECUTE, assert_problem, execute, stored
from tests.api.conftest import Api

JSON = {"content-type": "application/json"}
DEEP = "[" * 40 + "]" * 40

RAW: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 422, ""),
    "empty": (b"", 415, ""),
    "a list": (b"[]", 422, ""),
    "NaN": (b'{"task_type":"work","task_data":{"a":NaN}}', 422, "/task_data/a"),
    "Infinity": (b'{"task_type":"work","task_data":{"a":-Infinity}}', 422, "/task_data/a"),
    "too large a float": (b'{"task_type":"work","task_data":{"a":1e999}}', 422, "/task_data/a"),
    "too long an integer": (b'{"task_type":"work","task_data":{"a":%s}}' % (b"9" * 5_000), 422, "/task_data/a"),
    "NUL": (b'{"task_type":"work","task_data":{"a":"x\\u0000"}}', 422, "/task_data/a"),
    "NUL in a key": (b'{"task_type":"work","task_data":{"\\u0000":1}}', 422, "/task_data"),
    "NUL in the type": (b'{"task_type":"\\u0000"}', 422, "/task_type"),
    "lone surrogate": (b'{"task_type":"work","task_data":{"a":"\\ud800"}}', 422, "/task_data/a"),
    "same key twice": (b'{"task_type":"work","task_data":{"a":1,"a":2}}', 422, "/task_data/a"),
    "bad UTF-8": (b'{"task_type":"\xff"}', 422, ""),
    "too deep": (b'{"task_type":"work","task_data":{"a":%s}}' % DEEP.encode(), 422, ""),
    "deep enough to end a parser": (b"[" * 100_000, 422, ""),
    "two documents": (b'{"task_type":"work"}{"task_type":"work"}', 422, ""),
}

FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({"task_type": None}, "/task_type"),
    "unknown field": ({"prioritty": 1}, "/prioritty"),
    "priority 0": ({"priority": 0}, "/priority"),
    "priority 11": ({"priority": 11}, "/priority"),
    "priority as text": ({"priority": "5"}, "/priority"),
    "priority true": ({"priority": True}, "/priority"),
    "timeout 0": ({"timeout": 0}, "/timeout"),
    "timeout null": ({"timeout": None}, "/timeout"),
    "timeout below zero": ({"timeout": -1}, "/timeout"),
    "timeout as text": ({"timeout": "300"}, "/timeout"),
    "data as a list": ({"task_data": [1]}, "/task_data"),
    "data null": ({"task_data": None}, "/task_data"),
    "id with a slash": ({"task_id": "a/b"}, "/task_id"),
    "id of dots": ({"task_id": ".."}, "/task_id"),
    "id empty": ({"task_id": ""}, "/task_id"),
    "id too long": ({"task_id": "x" * 201}, "/task_id"),
    "id with a line break": ({"task_id": "a\nb"}, "/task_id"),
    "id as a number": ({"task_id": 1}, "/task_id"),
    "no attempts": ({"max_attempts": 0}, "/max_attempts"),
    "half an attempt": ({"max_attempts": 1.5}, "/max_attempts"),
    "run_at without offset": ({"run_at": "2030-01-01T00:00:00"}, "/run_at"),
    "run_at as a number": ({"run_at": 1_900_000_000}, "/run_at"),
    "run_at as a day": ({"run_at": "2030-01-01"}, "/run_at"),
    "run_at on no calendar": ({"run_at": "2030-02-30T00:00:00Z"}, "/run_at"),
    "run_at past the calendar's end": ({"run_at": "9999-12-31T23:59:59-14:00"}, "/run_at"),
    "run_at and delay": ({"run_at": "2030-01-01T00:00:00Z", "delay": 1}, "/delay"),
    "delay below zero": ({"delay": -1}, "/delay"),
    "delay beyond a year": ({"delay": 1e12}, "/delay"),
    "tags as text": ({"tags": "a"}, "/tags"),
    "tags of numbers": ({"tags": [1]}, "/tags/0"),
    "too many tags": ({"tags": ["x"] * 51}, "/tags"),
    "queue empty": ({"queue": ""}, "/queue"),
}


@pytest.fixture(autouse=True)
def _nothing_is_stored(database: Database) -> Iterator[None]:
    yield
    assert stored(database) == 0


@pytest.mark.parametrize("case", RAW)
def test_bodies(client: TestClient, case: str) -> None:
    body, status, pointer = RAW[case]
    headers = {} if case == "empty" else JSON
    answer = client.post(EXECUTE, content=body, headers=headers)
    told = assert_problem(answer, status, "invalid_input" if status == 422 else "json_needed")
    if status == 422:
        assert any(one["pointer"].startswith(pointer) and one["detail"] for one in told["errors"]), told


@pytest.mark.parametrize("case", FIELDS)
def test_fields(client: TestClient, case: str) -> None:
    given, pointer = FIELDS[case]
    told = assert_problem(execute(client, **given), 422, "invalid_input")
    assert [one["pointer"] for one in told["errors"]] == [pointer]


@pytest.mark.parametrize(("body", "pointer"), [([], ""), ({"task_type": "work", "task_data": [1]}, "/task_data")])
def test_what_is_no_object_is_told_in_json_words(client: TestClient, body: Any, pointer: str) -> None:
    told = assert_problem(client.post(EXECUTE, json=body), 422, "invalid_input")
    assert told["errors"] == [{"pointer": pointer, "detail": "must be an object"}]


def test_an_unknown_field_names_the_nearest(client: TestClient) -> None:
    told = assert_problem(execute(client, prioritty=1), 422, "invalid_input")
    assert "'priority'" in told["errors"][0]["detail"]


def test_everything_wrong_is_told_at_once(client: TestClient) -> None:
    told = assert_problem(execute(client, priority="x", timeout=None, colour="red"), 422, "invalid_input")
    assert {one["pointer"] for one in told["errors"]} == {"/priority", "/timeout", "/colour"}


def test_of_endless_problems_the_first_are_told(client: TestClient) -> None:
    for given in (
        {f"f{n}": 1 for n in range(30_000)},
        {"task_type": "sum", "task_data": dict.fromkeys(map(str, range(9_000)))},
    ):
        answer = client.post(EXECUTE, json={"task_type": "work", **given})
        told = assert_problem(answer, 422, "invalid_input")["errors"]
        assert len(told) == 21
        assert told[-1]["detail"].startswith("and ")
        assert len(answer.content) < 8_000
    answer = client.post(EXECUTE, json={"task_type": "work", "tags": [1] * 30_000})
    assert len(assert_problem(answer, 422, "invalid_input")["errors"]) == 1


def test_an_unknown_type_names_the_nearest(client: TestClient) -> None:
    told = assert_problem(execute(client, task_type="wrk"), 422, "unknown_task_type")
    assert "'work'" in told["errors"][0]["detail"]


def test_arguments_that_do_not_fit_the_handler(client: TestClient) -> None:
    told = assert_problem(execute(client, task_type="sum", task_data={"a": "x", "c": 1}), 422, "invalid_input")
    assert {one["pointer"] for one in told["errors"]} == {"/task_data/a", "/task_data/c"}


@pytest.mark.parametrize("told", [True, False])
def test_one_byte_too_many(client: TestClient, told: bool) -> None:
    body = b'{"task_type":"work","task_data":{"a":"' + b"x" * (1024 * 1024) + b'"}}'
    content = body if told else iter([body[:500_000], body[500_000:]])  # without a length, it is counted
    assert_problem(client.post(EXECUTE, content=content, headers=JSON), 413, "body_too_large")


def test_a_payload_over_its_own_limit(client: TestClient) -> None:
    told = assert_problem(execute(client, task_data={"a": "x" * 300_000}), 422, "invalid_input")
    assert told["errors"][0]["pointer"] == "/task_data"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_only_json_is_read(client: TestClient, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    assert_problem(client.post(EXECUTE, content=b'{"task_type":"work"}', headers=headers), 415, "json_needed")


def test_headers_that_two_readers_may_read_differently(client: TestClient) -> None:
    body = b'{"task_type":"work"}'
    kinds = [("content-type", "application/json"), ("content-type", "text/plain")]
    assert_problem(client.post(EXECUTE, content=body, headers=kinds), 415, "json_needed")
    packed = [("content-type", "application/json"), ("content-encoding", "gzip")]
    assert_problem(client.post(EXECUTE, content=body, headers=packed), 415, "encoding_unknown")
    for hosts in (["localhost", "evil.example"], ["evil.example", "localhost"]):
        assert_problem(client.get("/api/v1/health", headers=[("host", one) for one in hosts]), 421, "wrong_host")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("q=%ff%fe", "?"),
        ("q=%ed%a0%80", "?"),
        ("limit=0", "?limit"),
        ("limit=201", "?limit"),
        ("limit=x", "?limit"),
        ("limit=1&limit=2", "?limit"),
        ("status=done", "?status"),
        ("cursor=abc", "?cursor"),
        ("cursor=4711", "?cursor"),
        (f"cursor={cursor('audit', 4711)}", "?cursor"),
        ("created_after=yesterday", "?created_after"),
        ("created_before=2026-01-01T00:00:00", "?created_before"),
        (f"q={'x' * 201}", "?q"),
        ("type=%00", "?type"),
        ("colour=red", "?colour"),
    ],
)
def test_queries(client: TestClient, query: str, pointer: str) -> None:
    told = assert_problem(client.get(f"/api/v1/tasks?{query}"), 422, "invalid_input")
    assert told["errors"][0]["pointer"].startswith(pointer)


SCHEDULE = {"name": "nightly", "cron": "0 3 * * *", "task_type": "work"}


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "a/b"}, "/name"),
        ({"name": ".."}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"cron": "61 * * * *"}, "/cron"),
        ({"cron": None}, "/cron"),
        ({"every": 5.0}, "/cron"),
        ({"cron": None, "every": 0.0}, "/every"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"task_type": "nothing"}, "/task_type"),
        ({"priority": 0}, "/priority"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_schedules(client: TestClient, given: dict[str, Any], pointer: str) -> None:
    told = client.post("/api/v1/schedules", json={**SCHEDULE, **given})
    assert told.status_code == 422
    assert [one["pointer"] for one in told.json()["errors"]] == [pointer]


def test_a_body_where_none_is_taken(client: TestClient) -> None:
    told = assert_problem(client.post("/api/v1/tasks/t/retry", json={"force": True}), 422, "invalid_input")
    assert told["errors"][0]["pointer"] == "/force"


def test_a_type_that_nobody_knows_is_queued_where_that_is_allowed(api: Api) -> None:
    allowing = api.client(allow_unknown_types=True)
    answer = allowing.post(EXECUTE, json={"task_type": "elsewhere", "task_id": "t"})
    assert answer.status_code == 202
    assert allowing.post("/api/v1/tasks/t/cancel", json={}).status_code == 200
    with api.database.begin() as conn:
        conn.exec_driver_sql("DELETE FROM tasks")
