"""The guide's four scenarios through the bridge, with real nodes: none, one, several, and one that is killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import httpx2
import pytest

from jobrunner.client.bridge import DistributedBridge
from jobrunner.client.bridge_values import TaskResult
from jobrunner.client.errors import OutcomeUnknown
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from tests.client.world import World, wait_until

LEASE = {"JOBRUNNER_LEASE_SECONDS": "2", "JOBRUNNER_HEARTBEAT_INTERVAL": "0.5"}


def execute(bridge: DistributedBridge, task_id: str, data: Any, timeout: float = 30, **wish: Any) -> TaskResult:
    call = bridge.execute_task(task_id=task_id, task_type="mark", task_data=data, timeout=timeout, **wish)
    return asyncio.run(call)


def test_without_a_node_it_runs_here(world: World) -> None:
    with registry.isolated():

        @task("here", max_attempts=1)
        async def here(x: int) -> int:
            if x < 0:
                raise ValueError("below zero")
            return x + 1

        bridge = world.bridge()
        try:
            assert not bridge.has_available_nodes()
            told = asyncio.run(bridge.execute_task(task_id="t", task_type="here", task_data={"x": 1}))
            assert (told.status, told.result, told.error, told.node_id) == ("completed", {"value": 2}, None, None)
            assert told.started_at is not None
            assert told.completed_at is not None
            assert told.started_at.tzinfo is None
            assert told.execution_time >= 0
            bad = asyncio.run(bridge.execute_task(task_id="bad", task_type="here", task_data={"x": -1}))
            assert (bad.status, bad.error, bad.result) == ("failed", "below zero", None)
        finally:
            bridge.close()


def test_one_node_takes_it(world: World) -> None:
    bridge = world.bridge(world.node("Worker-1"))
    assert bridge.has_available_nodes()
    (node,) = bridge.get_available_nodes()
    assert (node.node_id, node.node_name, node.status) == ("node_001", "Worker-1", "healthy")
    assert {"mark", "data_import"} <= set(node.capabilities)
    assert 0 <= node.memory_percent <= 100
    told = execute(bridge, "test_001", world.mark("one"))
    assert (told.status, told.result, told.node_id) == ("completed", {"name": "one"}, "node_001")
    assert told.started_at is not None
    assert told.completed_at is not None
    assert told.completed_at >= told.started_at
    assert execute(bridge, "test_001", world.mark("one")) == told
    assert world.lines("one") == 1
    assert not (world.home / "own").exists(), "nothing is opened here while a node is there"


def test_several_nodes_share_the_work_and_a_full_one_still_takes_some(world: World) -> None:
    nodes = [world.node(f"Worker-{number}", JOBRUNNER_MAX_ASYNC="2") for number in (1, 2, 3)]
    bridge = world.bridge(*nodes)

    async def all_at_once() -> list[TaskResult]:
        calls = [
            bridge.execute_task(task_id=f"t{n}", task_type="mark", task_data=world.mark(f"t{n}", 0.3), timeout=30)
            for n in range(15)
        ]
        return await asyncio.gather(*calls)

    told = asyncio.run(all_at_once())
    assert {one.status for one in told} == {"completed"}
    shares = Counter(one.node_id for one in told)
    assert len(shares) == 3, f"a CPU that looked busy weighs as five tasks, no more: {shares}"
    assert max(shares.values()) > 2, "more than it has slots for"
    assert [world.lines(f"t{n}") for n in range(15)] == [1] * 15


@pytest.mark.ci
def test_what_a_killed_node_had_is_finished_by_those_that_share_its_database(world: World, postgres_url: str) -> None:
    few = LEASE | {"JOBRUNNER_MAX_ASYNC": "4"}  # so that neither has room for all six
    nodes = [world.node(f"Worker-{number}", url=postgres_url, **few) for number in (1, 2)]
    bridge = world.bridge(*nodes)

    async def both() -> list[TaskResult]:
        calls = [
            bridge.execute_task(task_id=f"t{n}", task_type="mark", task_data=world.mark(f"t{n}", 3.0), timeout=40)
            for n in range(6)
        ]
        running = asyncio.gather(*calls)
        await asyncio.to_thread(wait_until, lambda: all(world.lines(f"t{n}", "begin") for n in range(6)))
        await asyncio.to_thread(nodes[0].kill)
        return await running

    began = time.monotonic()
    told = asyncio.run(both())
    assert {one.status for one in told} == {"completed"}
    assert {one.node_id for one in told} == {"node_002"}
    assert [world.lines(f"t{n}") for n in range(6)] == [1] * 6, "no effect is lost, none came twice"
    assert sum(world.lines(f"t{n}", "begin") for n in range(6)) > 6, "the killed node held nothing: it means nothing"
    assert time.monotonic() - began < 25


@pytest.mark.ci
def test_what_a_killed_node_had_alone_is_unknown_and_not_run_again(world: World) -> None:
    first, other = world.node("Worker-1"), world.node("Worker-2")
    bridge = world.bridge(first, other)

    async def killed() -> TaskResult:
        running = asyncio.create_task(
            bridge.execute_task(task_id="t", task_type="mark", task_data=world.mark("t", 30), timeout=4)
        )
        await asyncio.to_thread(world.wait_for, "t")
        known = httpx2.get(f"{first.url}/api/v1/task/t/status", timeout=10).is_success
        await asyncio.to_thread((first if known else other).kill)
        return await running

    with pytest.raises(OutcomeUnknown, match=r"what became of task 't' at node 'node_00[12]' is not known") as found:
        asyncio.run(killed())
    assert found.value.node_id in ("node_001", "node_002")
    assert world.lines("t", "begin") == 1
    with pytest.raises(OutcomeUnknown):  # the same call goes to the same node, and to no other
        execute(bridge, "t", world.mark("t", 30), timeout=0.5)
    assert world.lines("t", "begin") == 1
    assert execute(bridge, "t2", world.mark("t2")).status == "completed"
