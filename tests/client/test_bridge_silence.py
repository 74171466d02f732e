"""Nodes that fall silent, refuse, or come back in the middle of a task: what was told before is no news."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobrunner.client import bridge_errand, bridge_nodes
from jobrunner.client.bridge import DistributedBridge
from jobrunner.client.bridge_values import TaskResult
from jobrunner.client.errors import NotTaken, OutcomeUnknown, Refused
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from tests.client.scripted import Scripted
from tests.client.world import World, wait_until

pytestmark = pytest.mark.ci


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_errand, "POLL", 0.05)
    monkeypatch.setattr(bridge_errand, "SOONEST", 0.05)
    monkeypatch.setattr(bridge_errand, "LATEST", 0.1)
    monkeypatch.setattr(bridge_nodes, "HEALTH_FOR", 0.2)


@pytest.fixture
def bridge() -> DistributedBridge:
    return DistributedBridge(World.settings())


@pytest.fixture
def node(bridge: DistributedBridge) -> Iterator[Scripted]:
    """One that stands alone, and whose tasks run on and on."""
    with Scripted("A", status="running") as node:
        node.known_to(bridge)
        yield node


async def execute(bridge: DistributedBridge, timeout: float = 10.0, **wish: Any) -> TaskResult:
    data = {"task_id": "t", "task_type": "mark", "task_data": {}}
    return await bridge.execute_task(**data | {"timeout": timeout} | wish)


async def until(true: Any) -> None:
    await asyncio.to_thread(wait_until, true)


def looks(node: Scripted) -> int:
    return sum(line.startswith("GET /api/v1/task/") for line in node.asked)


def test_one_that_fell_silent_is_not_said_to_run_it_still(
    bridge: DistributedBridge, node: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_errand, "SOONEST", 5.0)  # the next look after a lost one is that at the end

    async def silent() -> TaskResult:
        told = asyncio.create_task(execute(bridge, 2.5))  # on a busy machine the second look takes its time
        await until(lambda: looks(node) > 1)
        node.down = True
        return await told

    with pytest.raises(OutcomeUnknown, match=r"'t' at node 'A' is not known .its answer was lost"):
        asyncio.run(silent())


def test_one_lost_look_is_taken_again_at_the_end(
    bridge: DistributedBridge, node: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_errand, "SOONEST", 5.0)

    async def silent_for_a_moment() -> TaskResult:
        told = asyncio.create_task(execute(bridge, 2.5))
        await until(lambda: looks(node) > 1)
        node.down, seen = True, looks(node)
        await until(lambda: looks(node) > seen)
        node.down = False
        return await told

    told = asyncio.run(silent_for_a_moment())
    assert told.error is not None
    assert told.error.startswith("still runs at node 'A'")


@pytest.mark.parametrize("heard", [False, True])
def test_a_cancel_after_which_nobody_answers_leaves_it_unknown(
    bridge: DistributedBridge, node: Scripted, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    monkeypatch.setattr(bridge_errand, "CANCEL_WITHIN", 0.3)

    def die(line: str) -> None:
        asked = node.asked[-2:] if heard else [line]  # it dies at the look behind the cancel, or at the cancel
        node.down = node.down or asked[0].endswith("/cancel ")

    node.before = die
    with pytest.raises(OutcomeUnknown, match="'t' at node 'A' is not known"):
        asyncio.run(execute(bridge, 1.5, cancel_on_timeout=True))


def test_those_of_one_database_are_gone_back_to(bridge: DistributedBridge) -> None:
    names = {name: Scripted(name, "shared", cpu=cpu, status="running") for name, cpu in (("A", 0), ("B", 1), ("C", 2))}
    a, b, c = names.values()

    async def up_and_down() -> TaskResult:
        told = asyncio.create_task(execute(bridge))
        await until(lambda: looks(a) > 0)
        for gone, back, at in ((a, None, b), (b, None, c), (c, a, a), (a, b, b)):
            gone.down, seen = True, looks(at)
            if back is not None:
                back.down = False
            await until(lambda at=at, seen=seen: looks(at) > seen)
        b.status = "completed"
        return await told

    with a, b, c:
        for node in names.values():
            node.known_to(bridge)
        told = asyncio.run(up_and_down())
    assert (told.status, told.node_id) == ("completed", "B")
    assert [node.taken for node in names.values()] == [["t"], [], []]


def test_two_calls_at_once_go_to_one_node_though_it_refused_one_of_them(bridge: DistributedBridge) -> None:
    with Scripted("A") as a, Scripted("B", cpu=50.0) as b:
        both = threading.Barrier(2)
        a.script["POST"] = [(429, {"code": "queue_full", "detail": "full"})] * 2
        a.before = lambda line: time.sleep(0.1) if line.startswith("POST") else None
        for node in (a, b):
            node.known_to(bridge)

        def apart() -> str:
            both.wait()
            return str(asyncio.run(execute(bridge)).node_id)

        async def at_once() -> set[str | None]:
            other = asyncio.create_task(asyncio.to_thread(apart))  # in a loop of its own
            await asyncio.to_thread(both.wait)
            mine = await asyncio.gather(execute(bridge), execute(bridge))
            return {await other, *(one.node_id for one in mine)}

        assert len(asyncio.run(at_once())) == 1
        assert [] in (a.taken, b.taken), "one of two databases never had it"


def test_another_task_of_the_same_id_does_not_make_the_first_one_forgotten(
    bridge: DistributedBridge, node: Scripted
) -> None:
    with Scripted("B") as other:

        async def twice() -> TaskResult:
            first = asyncio.create_task(execute(bridge))
            await until(lambda: looks(node) > 0)
            with pytest.raises(Refused, match="is taken by a different request, which this bridge had before"):
                await execute(bridge, task_data={"x": 1})
            node.cpu = 90.0
            other.known_to(bridge)
            again = asyncio.create_task(execute(bridge))
            await asyncio.sleep(0.1)
            node.status = "completed"
            assert await first == await again
            return await first

        assert asyncio.run(twice()).node_id == "A"
        assert other.taken == []


def test_what_was_put_into_the_queue_here_stays_here_though_its_caller_left(tmp_path: Path, world: World) -> None:
    with registry.isolated(), Scripted("A") as node:
        ran: list[str] = []

        @task("mark")
        async def mark() -> str:
            ran.append("here")
            await asyncio.sleep(0.5)
            return "here"

        bridge = world.bridge()
        try:

            async def left() -> TaskResult:
                call = asyncio.create_task(execute(bridge))
                await until(lambda: ran)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                node.known_to(bridge)
                return await execute(bridge)

            told = asyncio.run(left())
        finally:
            bridge.close()
        assert (told.status, told.result, told.node_id) == ("completed", {"value": "here"}, None)
        assert (ran, node.taken) == (["here"], [])


def test_what_is_refused_here_may_go_elsewhere(world: World) -> None:
    with Scripted("A") as node:
        bridge = world.bridge()
        try:
            with pytest.raises(Exception, match="unknown task type 'mark'"):
                asyncio.run(execute(bridge))
            node.known_to(bridge)
            assert asyncio.run(execute(bridge)).node_id == "A"
        finally:
            bridge.close()


def test_a_split_import_is_that_of_its_first_call(bridge: DistributedBridge) -> None:
    one, two = ({"symbols": symbols} for symbols in (["000001.SZ", "000002.SZ"], ["600000.SH", "600001.SH"]))
    with Scripted("A") as a, Scripted("B", status="running") as b:
        for node in (a, b):
            node.known_to(bridge)

        def call(data: dict[str, Any], timeout: float = 5.0, task_id: str = "t") -> TaskResult:
            return asyncio.run(execute(bridge, timeout, task_type="data_import", task_data=data, task_id=task_id))

        assert call(one, 2.0).status == "running"
        with pytest.raises(Refused, match="task_id 't' is taken by a different request") as found:
            call(two)
        assert found.value.status == 409
        one["symbols"][:] = two["symbols"]  # what a caller does to its own list is no other request
        with pytest.raises(Refused):
            call(one)
        b.status = "completed"
        assert call({"symbols": ["000001.SZ", "000002.SZ"]}).status == "completed"
        with pytest.raises(Refused):
            call(two)
        for node in (a, b):
            node.script["POST"] = [(422, {"detail": "no"})] * 2
        with pytest.raises(NotTaken):
            call(one, task_id="u")
        assert call({"symbols": ["000001.SZ", "000004.SZ"]}, task_id="u").status == "completed", "nobody kept it"
