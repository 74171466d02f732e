"""An import in parts, over databases that nobody shares, and the one result that is made of theirs."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jobrunner.client.bridge import DistributedBridge
from jobrunner.client.bridge_split import merged, parts
from jobrunner.client.bridge_values import BridgeTask, TaskResult
from jobrunner.client.errors import NotTaken, OutcomeUnknown
from jobrunner.errors import InvalidInput
from jobrunner.queue.task import Status
from tests.client.cutting import Cutting
from tests.client.scripted import Scripted
from tests.client.world import World
from tests.data_import.support import put, records

pytestmark = pytest.mark.ci

SYMBOLS = ["000001.SZ", "000002.SZ", "000004.SZ", "000005.SZ", "000006.SZ"]
AT = datetime(2026, 1, 31, 9, 30)


def an_import(symbols: Any, task_id: str = "t", **data: Any) -> BridgeTask:
    return BridgeTask(task_id, "data_import", {"symbols": symbols, **data}, 5, 300)


def told(status: Status, part: str, error: str | None = None, start: int = 0, **result: Any) -> TaskResult:
    at = AT + timedelta(seconds=start)
    return TaskResult(part, status, result or None, error, 2.0 + start, at, at + timedelta(seconds=5), f"n-{part}")


def counts(symbols: int, imported: int, records: int, **more: Any) -> dict[str, Any]:
    return {"symbols_count": symbols, "imported_count": imported, "total_records": records, **more}


def test_parts_hold_every_symbol_once_in_its_order() -> None:
    made = parts(an_import([*SYMBOLS, SYMBOLS[0]], start_date="2024-01-01"), 2)
    assert [part.task.task_id for part in made] == ["t.1of2", "t.2of2"]
    assert [list(part.symbols) for part in made] == [SYMBOLS[:3], SYMBOLS[3:]]
    assert made[1].task.task_data == {"symbols": SYMBOLS[3:], "start_date": "2024-01-01"}
    assert [len(part.symbols) for part in parts(an_import(SYMBOLS), 9)] == [1] * 5


@pytest.mark.parametrize(
    "task",
    [
        an_import(SYMBOLS[:1]),
        an_import(None),
        an_import("000001.SZ"),
        an_import([1, 2]),
        an_import(SYMBOLS, "x" * 200),
        BridgeTask("t", "other", {"symbols": SYMBOLS}, 5, 300),
    ],
)
def test_what_cannot_be_split_is_one_task(task: BridgeTask) -> None:
    assert parts(task, 3) == []
    assert parts(an_import(SYMBOLS), 1) == []


def test_counts_are_summed_and_failures_kept() -> None:
    task = an_import(SYMBOLS)
    made = parts(task, 2)
    one = counts(3, 2, 40, failures=[{"symbol": "000004.SZ", "reason": "no file"}], failed_count=1, first="2024-01-03")
    two = counts(2, 2, 25, failures=[], failed_count=0, first="2024-01-02", load_id="b.0", data_source="tongdaxin")
    found = merged(task, made, [told(Status.COMPLETED, "a", **one), told(Status.COMPLETED, "b", start=3, **two)])
    assert (found.task_id, found.status, found.error) == ("t", "completed", None)
    assert (found.started_at, found.completed_at) == (AT, AT + timedelta(seconds=8))
    assert found.execution_time == 5.0
    assert found.result is not None
    assert found.result | counts(5, 4, 65) == found.result
    assert found.result["failures"] == [{"symbol": "000004.SZ", "reason": "no file"}]
    assert (found.result["failed_count"], found.result["first"], found.result["status"]) == (
        1,
        "2024-01-02",
        "completed",
    )
    assert [(part["node_id"], part["load_id"]) for part in found.result["parts"]] == [("n-a", None), ("n-b", "b.0")]


@pytest.mark.parametrize("ending", [Status.FAILED, Status.CANCELLED])
def test_a_part_that_did_not_complete_stays(ending: Status) -> None:
    task = an_import(SYMBOLS)
    found = merged(task, parts(task, 2), [told(Status.COMPLETED, "a", **counts(3, 3, 9)), told(ending, "b", "burnt")])
    assert found.status == ending
    assert found.error == "part t.2of2 (000005.SZ, 000006.SZ): burnt"
    assert found.result is not None
    assert found.result | counts(5, 3, 9) == found.result
    assert found.result["status"] == ending
    assert found.result["failures"] == [{"symbol": symbol, "reason": "burnt"} for symbol in SYMBOLS[3:]]


def test_symbols_that_fail_alone_in_a_part_fail_as_in_the_whole() -> None:
    task = an_import(SYMBOLS)
    nothing = "all 2 symbols failed: 000005.SZ: no file; 000006.SZ: no file"

    def found(one: TaskResult, two: TaskResult) -> TaskResult:
        return merged(task, parts(task, 2), [one, two])

    good, bad = told(Status.COMPLETED, "a", **counts(3, 3, 9)), told(Status.FAILED, "b", nothing)
    some = found(good, bad)
    assert (some.status, some.error) == ("completed", None)
    assert some.result is not None
    assert some.result | counts(5, 3, 9, status="completed") == some.result
    assert [one["symbol"] for one in some.result["failures"]] == SYMBOLS[3:]
    assert [part["status"] for part in some.result["parts"]] == ["completed", "failed"]
    none = found(told(Status.FAILED, "a", nothing), bad)
    assert (none.status, (none.error or "").count(nothing)) == ("failed", 2)
    assert found(told(Status.RUNNING, "a"), bad).status == "running"
    assert found(good, told(Status.CANCELLED, "b", nothing)).status == "cancelled"
    assert found(good, told(Status.FAILED, "b", "its child died: " + nothing)).status == "failed"


def test_one_symbol_under_several_names_is_in_one_part() -> None:
    def split(*names: str, count: int = 2) -> list[list[str]]:
        return [list(part.symbols) for part in parts(an_import(list(names)), count)]

    assert split("009999.SZ", "sz009999", "SZSE:009999") == []
    assert split("009999.SZ", "600000.SH", "sz009999") == [["009999.SZ"], ["600000.SH"]]
    assert split("000001.SZ", "000001.SH") == [["000001.SZ"], ["000001.SH"]], "a bank and an index"
    assert split("000001.SZ", "600000.SH", "000001", "sh000001") == [["000001.SZ", "000001", "sh000001"], ["600000.SH"]]
    assert split("nonsense", "000001.SZ", "nonsense") == [["nonsense"], ["000001.SZ"]]


def test_a_part_that_is_not_over_keeps_the_whole_open() -> None:
    task = an_import(SYMBOLS)
    open_parts = [told(Status.FAILED, "a", "burnt"), told(Status.RUNNING, "b", "still runs")]
    found = merged(task, parts(task, 2), open_parts)
    assert (found.status, found.ended, found.completed_at) == ("running", False, None)
    assert "burnt" in (found.error or "")
    assert "still runs" in (found.error or "")


def test_no_count_is_invented_where_a_part_told_none() -> None:
    task = an_import(SYMBOLS)
    found = merged(
        task, parts(task, 2), [told(Status.COMPLETED, "a", **counts(3, 3, 9)), told(Status.COMPLETED, "b", other=1)]
    )
    assert found.result is not None
    assert "total_records" not in found.result


def vipdoc(world: World, symbols: list[str]) -> str:
    for symbol in symbols:
        put(world.home / "vipdoc", f"sz{symbol[:6]}.day", records([20240102, 20240103]))
    return str(world.home / "vipdoc")


def test_two_databases_take_half_each_and_a_bad_half_is_told(world: World) -> None:
    root = vipdoc(world, SYMBOLS[:3])
    nodes = [world.node(f"Worker-{n}", JOBRUNNER_TDX_ROOT=root) for n in (1, 2)]
    bridge = world.bridge(*nodes)

    def execute(task_id: str, symbols: list[str], **wish: Any) -> TaskResult:
        data = {"symbols": symbols, "data_source": "tongdaxin"}
        return asyncio.run(bridge.execute_task(task_id, "data_import", data, timeout=30, **wish))

    found = execute("good", SYMBOLS[:3])
    assert (found.status, found.error) == ("completed", None)
    assert found.result is not None
    assert found.result | counts(3, 3, 6, inserted=6, failed_count=0) == found.result
    shares = {part["node_id"]: part["symbols"] for part in found.result["parts"]}
    assert shares == {"node_001": SYMBOLS[:2], "node_002": SYMBOLS[2:3]}
    assert [bars(node) for node in nodes] == [4, 2]
    again = execute("good", SYMBOLS[:3])
    assert again.result == found.result, "the same parts at the same nodes: nothing runs twice"

    symbols = [SYMBOLS[0], SYMBOLS[3], SYMBOLS[4], f"sz{SYMBOLS[0][:6]}"]
    bad, whole = execute("bad", symbols), execute("whole", symbols, split=False)
    assert bad.result is not None
    assert whole.result is not None
    assert ("parts" in bad.result, "parts" in whole.result) == (True, False)
    for one in (bad, whole):
        assert (one.status, one.error) == ("completed", None)
        assert one.result is not None
        assert one.result | counts(3, 1, 2, failed_count=2) == one.result
        assert {failure["symbol"] for failure in one.result["failures"]} == {"000005.SZ", "000006.SZ"}


def bars(node: Any) -> int:
    """How many bars a node says that it has imported."""
    tasks = httpx2.get(f"{node.url}/api/v1/tasks", timeout=10).json()["tasks"]
    found = [httpx2.get(f"{node.url}/api/v1/tasks/{task['task_id']}", timeout=10).json() for task in tasks]
    return sum(one["result"]["inserted"] for one in found if one["status"] == "completed")


def test_nodes_of_one_database_get_one_task(world: World, postgres_url: str) -> None:
    root = vipdoc(world, SYMBOLS[:2])
    nodes = [world.node(f"Worker-{n}", url=postgres_url, JOBRUNNER_TDX_ROOT=root) for n in (1, 2)]
    call = world.bridge(*nodes).execute_task("t", "data_import", {"symbols": SYMBOLS[:2]}, timeout=30)
    found = asyncio.run(call)
    assert (found.status, "parts" in (found.result or {})) == ("completed", False)


def test_a_part_of_unknown_outcome_leaves_the_whole_unknown(world: World, tmp_path: Path) -> None:
    root = vipdoc(world, SYMBOLS[:2])
    nodes = [world.node(f"Worker-{n}", JOBRUNNER_TDX_ROOT=root) for n in (1, 2)]
    assert nodes[1].port is not None
    with Cutting(nodes[1].port, most=1_000) as cut:
        bridge = world.bridge(nodes[0])
        bridge.add_node("node_002", "127.0.0.1", cut.port)
        with pytest.raises(OutcomeUnknown, match=r"'t' at node 'node_002'.*part 't\.1of2' is (comp|run)"):
            asyncio.run(bridge.execute_task("t", "data_import", {"symbols": SYMBOLS[:2]}, timeout=3))


def test_parts_that_no_node_takes_are_not_taken() -> None:
    bridge = DistributedBridge(World.settings())
    wrong = {"code": "invalid_input", "detail": "refused", "errors": [{"pointer": "/task_data/freq", "detail": "no"}]}
    with Scripted("A") as a, Scripted("B") as b:
        for node in (a, b):
            node.known_to(bridge)

        def refused(body: dict[str, Any]) -> Any:
            a.script["POST"], b.script["POST"] = [(422, body)] * 2, [(422, body)] * 2
            return asyncio.run(bridge.execute_task("u", "data_import", {"symbols": SYMBOLS[:2]}, timeout=20))

        with pytest.raises(NotTaken, match=r"u\.1of2: no node took .*u\.2of2: no node took .*B: answers 422"):
            refused({"detail": "an old node says so"})
        with pytest.raises(InvalidInput, match="refused: /task_data/freq: no"):
            refused(wrong)
