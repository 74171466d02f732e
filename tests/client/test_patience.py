"""Servers that say later or no: a small real one that answers as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from jobrunner.client import Client, OutcomeUnknown, Refused, Request, Unreachable
from jobrunner.client.tries import Tries
from jobrunner.errors import DatabaseUnavailable
from tests.api.serving import serving
from tests.client.answering import Script

pytestmark = pytest.mark.ci

ACCEPTED: tuple[int, dict[str, str], dict[str, Any]] = (202, {}, {"task_id": "mine", "status": "pending"})


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def client(script: Script) -> Iterator[Client]:
    with serving(script) as url, Client(url, patience=4) as opened:
        yield opened


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_heeded(script: Script, client: Client, status: int) -> None:
    script.answers = [(status, {"Retry-After": "1"}, {"code": "queue_full"}), ACCEPTED]
    assert client.submit("nap").task_id == "mine"
    (first, _, one), (second, _, other) = script.asked
    assert 1.0 <= second - first < 5.0
    assert one == other
    assert len(one["task_id"]) == 36


def test_retry_after_may_be_a_date(script: Script, client: Client) -> None:
    script.answers = [(503, {"Retry-After": formatdate(time.time() + 2, usegmt=True)}, {}), ACCEPTED]
    client.submit("nap")
    assert 0.9 <= script.asked[1][0] - script.asked[0][0] < 6.0


def test_a_wait_longer_than_the_budget_is_not_begun(script: Script, client: Client) -> None:
    script.answers = [(429, {"Retry-After": "60"}, {"code": "queue_full", "detail": "full"})]
    began = time.monotonic()
    with pytest.raises(Refused, match="full") as full:
        client.submit("nap")
    assert time.monotonic() - began < 5
    assert (full.value.status, full.value.code, full.value.retry_after) == (429, "queue_full", 60)
    assert len(script.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 415, 421, 422])
def test_what_is_refused_is_not_asked_again(script: Script, client: Client, status: int) -> None:
    script.answers = [(status, {"Retry-After": "0"}, {})]
    with pytest.raises(Refused) as refused:
        client.submit("nap")
    assert refused.value.status == status
    assert len(script.asked) == 1


def test_a_broken_server_leaves_it_open(script: Script, client: Client) -> None:
    script.answers = [(500, {}, {"detail": "went wrong"}), (401, {}, {})]
    with pytest.raises(OutcomeUnknown, match="does not take"):  # the first try may have been accepted
        client.submit("nap")
    assert len(script.asked) == 2
    script.answers = [(503, {}, {"code": "draining"}), (401, {}, {})]
    with pytest.raises(Refused):  # this one was not
        client.submit("nap")


def test_a_batch_in_one_call(script: Script, client: Client) -> None:
    problem = {"code": "invalid_input", "detail": "no", "errors": [{"pointer": "/priority", "detail": "too high"}]}
    results = [
        {"index": 0, "status": 202, "task_id": "a", "task_status": "pending"},
        {"index": 1, "status": 422, "problem": problem},
    ]
    script.answers = [(503, {}, {}), (200, {}, {"results": results, "accepted": 1, "refused": 1})]
    handle, refused = client.submit_many([Request("nap"), Request("nap", {}, {"priority": 10})])
    assert getattr(handle, "task_id", None) == "a"
    assert isinstance(refused, Refused)
    assert "/priority: too high" in str(refused)
    (_, path, one), (_, _, other) = script.asked
    assert path == "/api/v1/tasks/batch"
    assert one == other
    assert all(len(task["task_id"]) == 36 for task in one["tasks"])


def test_some_of_a_batch_later(script: Script, client: Client) -> None:
    def result(task_id: str) -> dict[str, Any]:
        return {"status": 202, "task_id": task_id, "task_status": "pending"}

    full = {"status": 429, "problem": {"code": "queue_full", "detail": "full"}}
    lost = {"status": 503, "problem": {"code": "database_unavailable", "detail": "away"}}
    script.answers = [
        (200, {}, {"results": [result("a"), full, lost, lost]}),
        (200, {}, {"results": [result("b"), lost, result("d")]}),
        (202, {}, {"task_id": "c", "status": "pending"}),
    ]
    told = client.submit_many(Request("nap") for _ in range(4))
    assert [getattr(one, "task_id", one) for one in told] == ["a", "b", "c", "d"]
    ids = [task["task_id"] for task in script.asked[0][2]["tasks"]]
    assert [task["task_id"] for task in script.asked[1][2]["tasks"]] == ids[1:]
    assert script.asked[2][2]["task_id"] == ids[2]
    script.answers = [(200, {}, {"results": [result("a"), full, lost]})]
    with serving(script) as url, Client(url, patience=0) as impatient:
        told = impatient.submit_many(Request("nap") for _ in range(3))
    assert [type(one) for one in told[1:]] == [Refused, OutcomeUnknown]


def test_large_batches_are_parted(script: Script, client: Client) -> None:
    def answers(count: int) -> tuple[int, dict[str, str], dict[str, Any]]:
        results = [{"index": n, "status": 202, "task_id": f"{n}", "task_status": "pending"} for n in range(count)]
        return 200, {}, {"results": results}

    script.answers = [answers(1_000), answers(1_000), answers(500)]
    assert len(client.submit_many(Request("nap") for _ in range(2_500))) == 2_500
    script.answers = [answers(4), answers(4), answers(2)]
    assert len(client.submit_many(Request("nap", {"text": "x" * 200_000}) for _ in range(10))) == 10
    assert [len(told["tasks"]) for _, _, told in script.asked] == [1_000, 1_000, 500, 4, 4, 2]


def test_a_wait_may_be_longer_than_a_try(script: Script) -> None:
    told = {"task_id": "mine", "task_type": "nap", "status": "completed", "queue": "default", "priority": 5}
    script.answers = [(200, {}, {**told, "max_attempts": 3, "result": {"slept": 1.0}})]
    script.rest = 1.0
    with serving(script) as url, Client(url, timeout=0.5, patience=1) as client:
        assert client.handle("mine").result(5) == {"slept": 1.0}
        assert len(script.asked) == 1
        with pytest.raises(Unreachable):
            client.task("mine")


def test_a_stream_goes_on_behind_the_last_event() -> None:
    came: list[str | None] = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        came.append(headers.get("last-event-id"))
        said = b"event: %b\nid: a-%d\ndata: {}\n\n" % (b"reset" if len(came) == 3 else b"changed", len(came))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b": ping\n\n" + (b"" if len(came) == 2 else said)})

    with serving(stream) as url, Client(url) as client:
        events = client.events()
        assert [(event.kind, event.id) for event in (next(events), next(events))] == [
            ("changed", "a-1"),
            ("reset", "a-3"),
        ]
    assert came == [None, "a-1", "a-1"]


def test_a_stream_may_be_silent_for_longer_than_the_patience() -> None:
    came: list[str] = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        came.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for _ in range(0 if len(came) == 3 else 5):
            await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
            await asyncio.sleep(0.08)
        said = {1: b'data: {"status":"running"}\n\n', 3: b'data: {"status":"completed"}\n\n'}.get(len(came), b"")
        await send({"type": "http.response.body", "body": said})

    with serving(stream) as url, Client(url, patience=0.3) as client:
        assert [state.status for state in client.handle("mine").events()] == ["running", "completed"]
    assert len(came) == 3

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"<html>"})

    with serving(page) as url, Client(url, patience=0.1) as client, pytest.raises(Unreachable, match="event-stream"):
        next(client.events())


def test_rests_grow_have_jitter_and_end() -> None:
    error = DatabaseUnavailable("away")
    rests = [[Tries(1e9).after(error)] for _ in range(50)]
    assert len({round(rest[0], 6) for rest in rests}) > 40
    tries = Tries(1e9)
    grown = [tries.after(error) for _ in range(12)]
    assert grown[0] <= 0.1 < grown[4] < max(grown) <= 5.0
    with pytest.raises(DatabaseUnavailable):
        Tries(0).after(error)
    with pytest.raises(OutcomeUnknown):
        Tries(0, changes=True).after(error)
