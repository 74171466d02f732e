"""Many tasks in one request: each gets its own answer, and what is told as taken is stored."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api import keyring
from jobrunner.db.engine import Database
from jobrunner.queue import codec, store
from tests.api.asking import assert_problem, execute, stored
from tests.api.conftest import KEY, Api
from tests.both_databases.moves import row

BATCH = "/api/v1/tasks/batch"
WORK = {"task_type": "work"}


def send(client: TestClient, *tasks: Any, **headers: str) -> Any:
    answer = client.post(BATCH, json={"tasks": list(tasks)}, headers=headers)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [one["index"] for one in told["results"]] == list(range(len(tasks)))
    assert told["accepted"] + told["refused"] == len(tasks)
    return told


def statuses(told: Any) -> list[int]:
    return [one["status"] for one in told["results"]]


def test_a_thousand_small_tasks_go_in_one_request(api: Api, client: TestClient, database: Database) -> None:
    began = time.monotonic()
    told = send(client, *({**WORK, "task_data": {"number": n, "text": "x" * 100}} for n in range(1_000)))
    print(f"FIGURE 1,000 tasks in a batch: {time.monotonic() - began:.2f} s")
    assert (told["accepted"], told["refused"]) == (1_000, 0)
    assert len({one["task_id"] for one in told["results"]}) == 1_000
    assert {one["task_status"] for one in told["results"]} == {"pending"}
    assert stored(database) == 1_000
    assert api.asked.woken == 1
    assert json.loads(row(database, told["results"][7]["task_id"]).payload)["number"] == 7


def test_a_bad_one_refuses_no_other(client: TestClient, database: Database) -> None:
    told = send(
        client,
        {**WORK, "task_id": "first"},
        {**WORK, "prioritty": 1},
        {"task_type": "nobody"},
        {"task_type": "sum", "task_data": {"a": "x"}},
        {**WORK, "task_id": "a/b"},
        "no task",
        {**WORK, "task_data": {"text": "x" * (codec.PAYLOAD_MAX_BYTES + 1)}},
        {**WORK, "task_id": "last"},
    )
    assert statuses(told) == [202, 422, 422, 422, 422, 422, 422, 202]
    assert (told["accepted"], told["refused"]) == (2, 6)
    problems = [one["problem"] for one in told["results"] if "problem" in one]
    assert [one["code"] for one in problems] == ["invalid_input", "unknown_task_type", *["invalid_input"] * 4]
    assert problems[0]["errors"][0] == {
        "pointer": "/prioritty",
        "detail": "unknown field; did you mean 'priority'?",
    }
    assert problems[2]["errors"][0]["pointer"].startswith("/task_data")
    assert set(problems[0]) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    assert stored(database) == 2


def test_json_that_cannot_be_kept_refuses_its_own_task_alone(client: TestClient, database: Database) -> None:
    deep = "[" * 40 + "]" * 40
    bad = ["NaN", "123456789012345678901234567890", r'"\u0000"', r'"\ud800"', deep, '{"a": 1, "a": 2}', "1e999"]
    items = [json.dumps(WORK), *(f'{{"task_type": "work", "task_data": {{"x": {one}}}}}' for one in bad)]
    items.append('{"task_type": "work", "task_type": "sum"}')
    answer = client.post(
        BATCH, content=f'{{"tasks": [{",".join(items)}]}}', headers={"content-type": "application/json"}
    )
    assert statuses(answer.json()) == [202, *[422] * len(items[1:])]
    pointers = [one["problem"]["errors"][0]["pointer"] for one in answer.json()["results"][1:]]
    assert {pointer[:12] for pointer in pointers[:-1]} == {"/task_data/x"}
    assert pointers[-1] == "/task_type"
    assert stored(database) == 1


def test_the_same_task_id_twice_makes_one_task_of_the_first(client: TestClient, database: Database) -> None:
    first = {**WORK, "task_id": "t", "task_data": {"n": 1}}
    told = send(
        client,
        {**WORK, "task_id": "t", "prioritty": 1},
        first,
        {**first, "task_data": {"n": 2}},
        first,
        {**WORK, "unique_key": "k", "task_id": "z"},
        {**WORK, "unique_key": "k", "task_id": "a"},
    )
    assert statuses(told) == [422, 202, 409, 200, 202, 200]
    assert told["results"][2]["problem"]["code"] == "task_exists"
    assert told["results"][5]["task_id"] == "z"
    assert row(database, "t").payload.replace(" ", "") == '{"n":1}'
    assert stored(database) == 2


def test_a_batch_that_is_sent_again_makes_nothing_new(api: Api, client: TestClient, database: Database) -> None:
    execute(client, task_id="t3", task_data={"other": True})
    tasks = [{**WORK, "task_id": f"t{n}", "task_data": {"n": n}} for n in range(150)]
    told = send(client, *tasks)
    assert statuses(told) == [409 if n == 3 else 202 for n in range(150)]
    woken = api.asked.woken
    assert statuses(send(client, *tasks)) == [409 if n == 3 else 200 for n in range(150)]
    assert api.asked.woken == woken
    assert stored(database) == 150


def test_what_is_no_batch_is_refused_whole(client: TestClient, database: Database) -> None:
    def refused(content: str, pointer: str | None = None) -> None:
        answer = client.post(BATCH, content=content, headers={"content-type": "application/json"})
        told = assert_problem(answer, 422, "invalid_input")
        if pointer is not None:
            assert told["errors"][0]["pointer"] == pointer

    refused("")
    refused("{")
    refused("[]")
    refused("{}", "/tasks")
    refused('{"tasks": {}}', "/tasks")
    refused('{"tasks": [], "task": 1}', "/task")
    refused('{"tasks": [], "tasks": []}', "/tasks")
    refused(json.dumps({"tasks": [WORK] * 1_001}), "/tasks")
    refused(f'{{"tasks": [{"[" * 200}{"]" * 200}]}}')
    answer = client.post(BATCH, content="[]", headers={"content-type": "text/plain"})
    assert_problem(answer, 415, "json_needed")
    assert stored(database) == 0
    assert send(client) == {"results": [], "accepted": 0, "refused": 0}


def test_a_batch_may_be_larger_than_other_bodies_and_no_larger(client: TestClient, database: Database) -> None:
    large = {"text": "x" * 200_000}
    assert send(client, *[{**WORK, "task_data": large}] * 10)["accepted"] == 10
    answer = client.post(BATCH, json={"tasks": [{**WORK, "task_data": large}] * 25})
    assert_problem(answer, 413, "body_too_large")
    assert stored(database) == 10


def test_a_key_of_named_queues_submits_to_these_alone(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    with database.begin() as conn:
        text = store.issue_key(conn, "mine", ["submit"], queues=["mine"]).text
    assert execute(api.admin(), task_id="theirs").status_code == 202
    keyed = api.client(api_key=KEY, headers={"x-api-key": text})
    mine = {**WORK, "queue": "mine"}
    told = send(keyed, mine, WORK, {"task_type": "sum", "task_data": {"a": 1}}, {**WORK, "task_id": "theirs"}, mine)
    assert statuses(told) == [202, 403, 403, 403, 202]
    kept = row(database, told["results"][0]["task_id"])
    assert (kept.queue, kept.submitted_by.partition(" (")[2]) == ("mine", "mine)")


def test_a_trace_is_kept_with_each_of_them(client: TestClient, database: Database) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    told = send(client, WORK, WORK, traceparent=trace)
    assert [row(database, one["task_id"]).traceparent for one in told["results"]] == [trace] * 2


def test_a_database_that_is_away_is_told_as_such() -> None:
    away = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    answer = Api(away).client().post(BATCH, json={"tasks": [WORK, WORK]})
    assert_problem(answer, 503, "database_unavailable")
    away.dispose()


def test_a_task_that_is_called_batch_is_no_batch(client: TestClient) -> None:
    execute(client, task_id="batch")
    assert client.get("/api/v1/tasks/batch").json()["task_id"] == "batch"


def test_a_wrong_method_is_told_what_the_batch_takes(client: TestClient) -> None:
    answer = client.options(BATCH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_key_for_one_request_is_refused_where_it_would_be_ignored(client: TestClient, database: Database) -> None:
    told = {"tasks": [{"task_type": "work"}]}
    refused = client.post("/api/v1/tasks/batch", json=told, headers={"idempotency-key": "k"})
    assert assert_problem(refused, 422, "invalid_input")["errors"][0]["pointer"] == "Idempotency-Key"
    assert stored(database) == 0
