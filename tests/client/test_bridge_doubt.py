"""Lost answers, and tasks that outlast their caller: never lost, never run twice, never guessed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from jobrunner.client import bridge_errand
from jobrunner.client.bridge import DistributedBridge
from jobrunner.client.bridge_values import TaskResult
from jobrunner.client.errors import NotTaken, OutcomeUnknown, TakenId
from jobrunner.errors import InvalidInput, UnknownTaskType
from tests.client.cutting import Cutting
from tests.client.old_node import OldNode
from tests.client.world import World
from tests.processes import free_port

pytestmark = pytest.mark.ci

IMPORT = {"symbols": ["000001.SZ", "000002.SZ"]}


def execute(bridge: DistributedBridge, task_id: str, data: Any, timeout: float = 20, **wish: Any) -> TaskResult:
    call = bridge.execute_task(task_id=task_id, task_type="mark", task_data=data, timeout=timeout, **wish)
    return asyncio.run(call)


@pytest.mark.parametrize("hang", [False, True])
def test_an_answer_that_is_lost_is_asked_for_again_at_the_same_node(
    world: World, hang: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_errand, "ANSWER_WITHIN", 1.0)
    bridge = world.bridge(world.node("Worker-2"))
    port = world.node("Worker-1").port
    assert port is not None
    with Cutting(port) as cut:
        cut.hang = hang
        bridge.remove_node("node_001")
        bridge.add_node("before", "127.0.0.1", cut.port)
        told = execute(bridge, "t", world.mark("t"))
        assert (told.status, told.node_id, cut.count) == ("completed", "before", 1)
        assert sum(line.startswith(b"POST") for line in cut.seen) == 2
    assert world.lines("t", "begin") == 1


def test_lost_looks_are_repeated(world: World) -> None:
    port = world.node("Worker-1").port
    assert port is not None
    with Cutting(port, b"GET /api/v1/task/", most=3) as cut:
        bridge = world.bridge()
        bridge.add_node("before", "127.0.0.1", cut.port)
        assert execute(bridge, "t", world.mark("t", 0.2)).status == "completed"
        assert cut.count == 3
    assert world.lines("t", "begin") == 1


def test_what_stays_unknown_is_said_and_goes_nowhere_else_unless_it_may(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_errand, "LOST_AFTER", 0.5)
    first, other = world.node("Worker-1"), world.node("Worker-2")
    assert first.port is not None
    with Cutting(first.port, most=1_000) as cut:
        bridge = world.bridge()
        bridge.add_node("cut", "127.0.0.1", cut.port)
        with pytest.raises(OutcomeUnknown, match="its answer was lost") as found:
            execute(bridge, "t", world.mark("t"), timeout=2)
        assert (found.value.task_id, found.value.node_id) == ("t", "cut")
        bridge.add_node("other", "127.0.0.1", other.port or 0)
        with pytest.raises(OutcomeUnknown):
            execute(bridge, "t", world.mark("t"), timeout=2)
        assert world.lines("t", "begin") == 1
        told = execute(bridge, "t", world.mark("t"), timeout=20, run_again=True)
        assert (told.status, told.node_id) == ("completed", "other")
    assert world.lines("t", "begin") == 2, "it was allowed to"


def test_the_old_system_is_asked_and_not_told_twice() -> None:
    bridge = DistributedBridge(World.settings())
    with OldNode() as node, Cutting(node.port) as cut:
        bridge.add_node("old", "127.0.0.1", cut.port)
        (found,) = bridge.get_available_nodes()
        assert (found.node_name, found.capabilities) == ("Old", ("data_import",))
        call = bridge.execute_task(task_id="t", task_type="data_import", task_data=IMPORT, timeout=20)
        told = asyncio.run(call)
        assert (told.status, told.execution_time, node.ran) == ("completed", 0.3, ["t"])
        assert told.result is not None
        assert told.result["symbols_count"] == 2
        assert told.completed_at is not None
        assert told.completed_at.tzinfo is None
        node.full = True
        with pytest.raises(NotTaken, match=r"old: answers 503 .node is overloaded."):
            asyncio.run(bridge.execute_task(task_id="u", task_type="data_import", task_data=IMPORT, timeout=2.5))
        node.full = False
        del node.tasks["t"]
        node.seconds = 3

        async def forgotten() -> TaskResult:
            running = asyncio.create_task(
                bridge.execute_task(task_id="v", task_type="data_import", task_data=IMPORT, timeout=20)
            )
            while "v" not in node.tasks:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
            node.tasks.clear()  # as a restart of the old system did
            return await running

        with pytest.raises(OutcomeUnknown, match="answers 404"):
            asyncio.run(forgotten())
        assert node.ran == ["t", "v"]


def test_a_task_that_outlasts_its_caller_goes_on_and_is_told_so(world: World) -> None:
    bridge = world.bridge(world.node("Worker-1", JOBRUNNER_MAX_ASYNC="1"))

    async def impatient() -> list[TaskResult]:
        def call(name: str, timeout: float, **wish: bool) -> Any:
            data = world.mark(name, 1.5)
            return bridge.execute_task(task_id=name, task_type="mark", task_data=data, timeout=timeout, **wish)

        patient = asyncio.create_task(call("t", 20))
        await asyncio.to_thread(world.wait_for, "t")
        hasty = await asyncio.gather(call("t", 0.3), call("behind", 0.3), call("given up", 0.3, cancel_on_timeout=True))
        return [*hasty, await patient]

    runs, waits, cancelled, done = asyncio.run(impatient())
    goes_on = "at node 'node_001' after the 0.3 s that its caller gave it; it goes on there, and the same call waits"
    assert (runs.status, runs.ended, runs.error) == ("running", False, f"still runs {goes_on} for it again")
    assert (waits.status, waits.ended, waits.error) == ("pending", False, f"still waits {goes_on} for it again")
    assert (cancelled.status, cancelled.error) == ("cancelled", "its caller's time was over")
    assert (done.status, done.error) == ("completed", None)
    assert [world.lines(name, "begin") for name in ("t", "given up")] == [1, 0]


def test_its_caller_may_wait_again_for_the_same_run(world: World) -> None:
    bridge = world.bridge(world.node("Worker-1"))

    async def twice() -> tuple[TaskResult, TaskResult]:
        call: dict[str, Any] = {"task_id": "t", "task_type": "mark", "task_data": world.mark("t", 1.2), "timeout": 20}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bridge.execute_task(**call), 0.5)
        return await bridge.execute_task(**call), await bridge.execute_task(**call)

    one, two = asyncio.run(twice())
    assert one == two
    assert one.status == "completed"
    assert world.lines("t", "begin") == 1


def test_two_calls_of_one_id_at_once_are_one_task_at_one_node(world: World) -> None:
    bridge = world.bridge(world.node("Worker-1"), world.node("Worker-2"))

    async def twice() -> list[TaskResult]:
        call: dict[str, Any] = {"task_id": "t", "task_type": "mark", "task_data": world.mark("t", 0.2), "timeout": 20}
        return await asyncio.gather(*(bridge.execute_task(**call) for _ in range(4)))

    assert len({one.node_id for one in asyncio.run(twice())}) == 1
    assert world.lines("t", "begin") == 1


def test_who_certainly_did_not_take_it_is_passed_over(world: World) -> None:
    node = world.node("Worker-1")
    bridge = world.bridge()
    bridge.add_node("nobody", "127.0.0.1", free_port())
    bridge.add_node("nowhere", "no-such-host.invalid", 8900)
    bridge.add_node("node", "127.0.0.1", node.port or 0)
    began = time.monotonic()
    told = execute(bridge, "t", world.mark("t"))
    assert (told.status, told.node_id) == ("completed", "node")
    assert time.monotonic() - began < 8
    with pytest.raises(TakenId, match="is taken by a different request") as found:
        execute(world.bridge(node), "t", world.mark("another"))
    assert (found.value.status, found.value.task_id) == (409, "t")
    with pytest.raises(UnknownTaskType, match=r"^unknown task type 'marc'"):
        asyncio.run(bridge.execute_task(task_id="u", task_type="marc", task_data={}))
    with pytest.raises(InvalidInput, match="/task_data/nam: ") as wrong:
        execute(bridge, "u", {"nam": 1})
    assert "/task_data/nam" in [problem.pointer for problem in wrong.value.problems]
    node.kill()
    home = bridge.execute_task(task_id="v", task_type="marc", task_data={}, timeout=5)
    with pytest.raises(UnknownTaskType, match=r"^unknown task type 'marc'"):  # no node is left: it is refused at home
        asyncio.run(home)
    bridge.close()
