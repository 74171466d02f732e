"""The same task_id is the same task, also after its end: at its own place, whatever other places are there by then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from jobrunner.client import bridge_errand, bridge_memory, bridge_nodes, bridge_placed, bridge_route
from jobrunner.client.bridge import DistributedBridge
from jobrunner.client.bridge_memory import Memory
from jobrunner.client.bridge_placed import Placements
from jobrunner.client.bridge_values import TaskResult
from jobrunner.client.errors import BadInput, NoSuchType, NotTaken, OutcomeUnknown, TakenId
from jobrunner.errors import InvalidInput, UnknownTaskType
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from tests.client.scripted import Scripted
from tests.client.world import World

pytestmark = pytest.mark.ci

IMPORT: dict[str, Any] = {"task_type": "data_import", "task_data": {"symbols": ["000001.SZ", "000002.SZ"]}}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_errand, "SOONEST", 0.05)
    monkeypatch.setattr(bridge_errand, "LATEST", 0.1)
    monkeypatch.setattr(bridge_route, "LOST_AFTER", 0.3)
    monkeypatch.setattr(bridge_nodes, "HEALTH_FOR", 0.0)


@pytest.fixture
def bridge() -> DistributedBridge:
    return DistributedBridge(World.settings())


@pytest.fixture
def nodes(bridge: DistributedBridge) -> Iterator[tuple[Scripted, Scripted]]:
    """A, which is the better one, and B."""
    with Scripted("A") as a, Scripted("B", cpu=50.0) as b:
        for node in (a, b):
            node.known_to(bridge)
        yield a, b


def execute(bridge: DistributedBridge, timeout: float = 10.0, **wish: Any) -> TaskResult:
    data = {"task_id": "t", "task_type": "mark", "task_data": {}}
    return asyncio.run(bridge.execute_task(**data | {"timeout": timeout} | wish))


def test_the_same_call_goes_to_the_same_node_after_the_end(
    bridge: DistributedBridge, nodes: tuple[Scripted, Scripted]
) -> None:
    a, b = nodes
    told = execute(bridge)
    a.cpu = 100.0  # now the other one is better
    assert execute(bridge) == told
    bridge.remove_node("A")
    assert execute(bridge) == told
    assert (told.node_id, a.taken, b.taken) == ("A", ["t"], [])
    with pytest.raises(TakenId, match="task_id 't' is taken by a different request"):
        execute(bridge, task_data={"x": 1})
    a.script["GET /api/v1/task/"] = [(404, {"detail": "it has been pruned"})]
    assert execute(bridge) == told, "what is complete stays so"
    assert execute(bridge, run_again=True) == told
    assert (a.taken, b.taken) == (["t"], [])


def test_what_ended_at_a_node_that_is_gone_does_not_run_again(
    bridge: DistributedBridge, nodes: tuple[Scripted, Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = nodes
    done = execute(bridge)
    a.status = "failed"
    assert execute(bridge, task_id="failed").status == "failed"
    a.status = "completed"
    monkeypatch.setattr(bridge_placed, "KEPT_RESULT", 1)
    assert execute(bridge, task_id="long").status == "completed"
    a.down = True
    assert execute(bridge, timeout=60) == done, "nobody waits for what is known"
    for name in ("failed", "long"):  # the one may have been retried, of the other the result is not here
        with pytest.raises(OutcomeUnknown, match=f"'{name}' at node 'A' is not known"):
            execute(bridge, timeout=1.5, task_id=name)
    assert b.taken == []


def test_what_is_wrong_is_refused_alike_everywhere(world: World) -> None:
    unknown: dict[str, Any] = {"code": "unknown_task_type", "detail": "unknown task type 'mark'"}
    wrong: dict[str, Any] = {"code": "invalid_input", "detail": "refused", "errors": []}
    bridge = world.bridge()
    with registry.isolated(), Scripted("A") as a, Scripted("B") as b:

        @task("here")
        async def here(x: int = 0) -> None: ...

        try:
            for name in ("task_id", "timeout", "task_data"):
                missing: dict[str, Any] = {name: None}
                with pytest.raises(InvalidInput, match=f"/{name}: must be given"):
                    execute(bridge, **missing)
            with pytest.raises(UnknownTaskType):
                execute(bridge)
            assert execute(bridge, task_type="here", task_id="u").status == "completed"
            bridge._router._placements = Placements()  # as another program
            with pytest.raises(TakenId) as taken:
                execute(bridge, task_type="here", task_id="u", task_data={"x": 1})
            assert (taken.value.status, taken.value.task_id) == (409, "u")
            for node in (a, b):
                node.known_to(bridge)
            kinds: tuple[tuple[Any, Any, type[Exception]], ...]
            kinds = ((unknown, unknown, NoSuchType), (unknown, wrong, BadInput), (wrong, {}, NotTaken))
            for first, second, kind in kinds:
                a.script["POST"], b.script["POST"] = [(422, first)], [(422, second)]
                with pytest.raises(kind) as found:
                    execute(bridge)
                assert type(found.value) is kind
        finally:
            bridge.close()
        for call in (lambda: execute(bridge), bridge.get_available_nodes):
            with pytest.raises(RuntimeError, match="this bridge is closed"):
                call()


def test_what_ended_here_does_not_go_to_a_node(world: World) -> None:
    with registry.isolated(), Scripted("A") as a:

        @task("mark")
        async def mark() -> str:
            return "here"

        bridge = world.bridge()
        try:
            told = execute(bridge)
            a.known_to(bridge)
            assert execute(bridge) == told
        finally:
            bridge.close()
        assert (told.result, a.taken) == ({"value": "here"}, [])


def test_a_split_import_stays_split(bridge: DistributedBridge, nodes: tuple[Scripted, Scripted]) -> None:
    told = execute(bridge, **IMPORT)
    for name in ("A", "B"):
        bridge.remove_node(name)
        assert execute(bridge, **IMPORT) == told
    assert [node.taken for node in nodes] == [["t.1of2"], ["t.2of2"]]


def test_a_whole_import_stays_whole(bridge: DistributedBridge, nodes: tuple[Scripted, Scripted]) -> None:
    a, b = nodes
    bridge.remove_node("B")
    told = execute(bridge, **IMPORT)
    b.known_to(bridge)
    assert execute(bridge, **IMPORT) == told
    assert (a.taken, b.taken) == (["t"], [])


def test_it_remembers_so_many_and_those_that_are_called_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_memory, "REMEMBERED", 2)
    memory: Memory[str] = Memory()

    def call(task_id: str) -> None:
        with memory.calling(task_id):
            memory.put(task_id, task_id)

    with memory.calling("on its way"):
        memory.put("on its way", "")
        for name in ("a", "b", "a", "c"):
            call(name)
        assert [name in memory for name in ("on its way", "a", "b", "c")] == [True, True, False, True]
        assert memory.calls("on its way") == 1
    call("d")
    assert [name in memory for name in ("on its way", "a", "c", "d")] == [True, False, False, True]
    assert memory.calls("on its way") == 0
