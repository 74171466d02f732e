"""Which node is the best, and which share a database: from figures alone."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from jobrunner.client import calls
from jobrunner.client.blocking import run
from jobrunner.client.bridge_calls import NotAccepted, Unsure, accepted, open_client
from jobrunner.client.bridge_nodes import Node, best_first, databases
from jobrunner.client.bridge_values import AvailableNode, result_of
from jobrunner.client.errors import Refused, Unreachable
from jobrunner.client.http import PlainHttp
from jobrunner.settings.nodes import NodeAddress
from tests.client.scripted import Scripted


def a_node(name: str, fleet: str = "", *, errands: int = 0, **figures: Any) -> Node:
    node = Node(NodeAddress(name, "localhost"))
    plain: dict[str, Any] = {
        "node_id": name,
        "node_name": name,
        "address": node.url,
        "status": "healthy",
        "cpu_percent": 0.0,
        "memory_percent": 0.0,
        "active_tasks": 0,
        "completed_tasks": 0,
        "failed_tasks": 0,
        "uptime_seconds": 1.0,
        "last_heartbeat": None,
        "capabilities": ("data_import",),
    }
    node.health = AvailableNode(**plain | figures)
    node.fleet = frozenset(fleet)
    node.is_jobrunner = bool(fleet)
    node.errands = errands
    return node


def order(*nodes: Node, task_type: str = "data_import") -> list[str]:
    return [node.id for node in best_first(nodes, task_type)]


def test_the_least_loaded_comes_first() -> None:
    assert order(a_node("a", active_tasks=1), a_node("b")) == ["b", "a"]
    assert order(a_node("a", cpu_percent=80.0), a_node("b", active_tasks=3)) == ["b", "a"]
    assert order(a_node("a", cpu_percent=40.0), a_node("b", active_tasks=3)) == ["a", "b"]
    assert order(a_node("a", memory_percent=90.0), a_node("b", memory_percent=10.0)) == ["b", "a"]
    assert order(a_node("b"), a_node("a")) == ["a", "b"]


def test_what_was_sent_counts_before_the_node_tells_of_it() -> None:
    assert order(a_node("a", errands=2), a_node("b", active_tasks=1)) == ["b", "a"]
    assert order(a_node("a", errands=1, active_tasks=1), a_node("b", active_tasks=1)) == ["b", "a"]


@pytest.mark.parametrize("status", ["busy", "overloaded", "error", "anything"])
def test_only_healthy_ones_are_used(status: str) -> None:
    gone = a_node("c")
    gone.distrust()
    assert order(a_node("a", status=status), a_node("b", cpu_percent=100.0), gone) == ["b"]


def test_those_that_know_the_type_come_first() -> None:
    knows = a_node("b", capabilities=("report",), active_tasks=9)
    assert order(a_node("a"), knows, task_type="report") == ["b", "a"]
    assert order(a_node("a", capabilities=()), knows, task_type="report") == ["a", "b"], "who says nothing may know it"


def test_nodes_are_grouped_by_the_database_that_they_share() -> None:
    nodes = [a_node("a", "12"), a_node("b", "3"), a_node("c", "24"), a_node("old"), a_node("older"), a_node("z", "43")]
    grouped = [sorted(node.id for node in group) for group in databases(nodes)]
    assert sorted(grouped) == [["a", "b", "c", "z"], ["old"], ["older"]]
    assert [[node.id for node in group] for group in databases(nodes[:2])] == [["a"], ["b"]]


def test_what_may_share_a_database_is_not_split() -> None:
    nodes = [a_node("a", "1"), a_node("b", "2"), a_node("c"), a_node("old")]
    assert len(databases(nodes)) == 4
    nodes[2].is_jobrunner = True
    assert [[node.id for node in group] for group in databases(nodes)] == [["a", "b", "c"], ["old"]]
    nodes[2].is_jobrunner = None
    assert [[node.id for node in group] for group in databases(nodes)] == [["a", "b", "c"], ["old"]]
    assert not nodes[0].shares_with(nodes[2]), "for a task that has been sent, only what is known counts"


WORDS = {"type": "urn:problem-type:jobrunner:too_many_requests", "detail": "slowly"}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((200, {"service": "jobrunner"}), True),
        ((200, {"service": "distributed node"}), False),
        ((403, {"type": "urn:problem-type:jobrunner:forbidden", "detail": "a key of some queues"}), True),
        ((429, {"detail": "slowly"}), None),
        ((503, {"message": "no upstream"}), None),
    ],
)
def test_what_a_node_is_is_decided_by_what_proves_it(first: tuple[int, Any], then: bool | None) -> None:
    async def looked_at(node: Node) -> None:
        async with open_client(verify=False) as http:
            await node.look(http)

    with Scripted("n") as there:
        node = Node(NodeAddress("n", "127.0.0.1", there.port))
        there.script = {"GET /api/v1/nodes": [(429, WORDS)]}
        there.script["GET / "] = [first]
        asyncio.run(looked_at(node))
        assert (node.healthy, node.is_jobrunner, node.fleet) == (True, then, frozenset())
        for _ in range(2):
            asyncio.run(looked_at(node))
        decided = then is not False
        assert (node.healthy, node.is_jobrunner, bool(node.fleet)) == (True, decided, decided)


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        (httpx2.Response(202, json={"status": "pending"}), None),
        (httpx2.Response(200, text="<html>welcome</html>"), Unsure),
        (httpx2.Response(302, headers={"location": "/login"}), NotAccepted),
        (httpx2.Response(401, json={"detail": "no"}), NotAccepted),
        (httpx2.Response(409, json={"detail": "taken"}), Refused),
        (httpx2.Response(422, json={"detail": "no"}), NotAccepted),
        (httpx2.Response(429, json={"detail": "full"}, headers={"retry-after": "7"}), NotAccepted),
        (httpx2.Response(500, json={"detail": "broken"}), Unsure),
        (httpx2.Response(502, text="bad gateway"), Unsure),
        (httpx2.Response(503, json={"detail": "node is overloaded"}), NotAccepted),
        (httpx2.Response(503, json={"detail": "away", "code": "database_unavailable"}), Unsure),
        (httpx2.Response(503, json={"detail": "old schema", "code": "schema_mismatch"}), NotAccepted),
        (httpx2.Response(503, json={"detail": "what is this?", "code": "new_code"}), Unsure),
        (httpx2.Response(503, json={"message": "The upstream server is timing out"}), Unsure),
        (httpx2.Response(503, json={"detail": "timed out", "title": "Service Unavailable"}), Unsure),
        (httpx2.Response(503, json={}), Unsure),
        (httpx2.Response(503, text="<html>proxy</html>"), Unsure),
        (httpx2.Response(504, text="too late"), Unsure),
    ],
)
def test_what_an_answer_to_a_submission_proves(answer: httpx2.Response, means: type[Exception] | None) -> None:
    if means is None:
        assert accepted(answer) == {"status": "pending"}
        return
    with pytest.raises(means) as found:
        accepted(answer)
    if answer.status_code == 429:
        assert isinstance(found.value, NotAccepted)
        assert found.value.after == 7.0


def test_jobrunner_does_not_refuse_as_the_old_system_does() -> None:
    answer = httpx2.Response(503, json={"detail": "the gateway has no answer"})
    with pytest.raises(Unsure):
        accepted(answer, by_jobrunner=True)
    with pytest.raises(NotAccepted):
        accepted(answer, by_jobrunner=False)


def test_what_http_cannot_carry_was_never_sent() -> None:
    ask = calls.post("/api/v1/task/execute", {}, headers={"traceparent": "a\nb: c"})
    with Scripted("n") as node, pytest.raises(Unreachable) as found:
        run(PlainHttp(f"http://127.0.0.1:{node.port}", None, verify=False).send(ask, 5))
    assert not found.value.arrived, "else it would be asked again, and at last nobody knew"
    assert node.asked == []


@pytest.mark.parametrize(
    "told",
    [None, [], {"task_id": "t", "status": "done"}, {"task_id": "other", "status": "running"}, {"status": None}],
)
def test_an_answer_that_is_not_the_guides_is_no_result(told: Any) -> None:
    with pytest.raises(ValueError, match=r"answer|status|Status"):
        result_of("t", told, None)


def test_times_lose_their_offset() -> None:
    told = {"task_id": "t", "status": "completed", "started_at": "2026-01-31T09:30:00Z", "result": [1]}
    found = result_of("t", told, "n")
    assert found.started_at is not None
    assert found.started_at.tzinfo is None
    assert found.result == {"value": [1]}
