"""The guide's own lines, as they stand there; only the port is another, since tests do not own 8900."""

from __future__ import annotations

import ast
import asyncio
import inspect
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from jobrunner.client.bridge import DistributedBridge, get_distributed_bridge
from tests.client.world import World
from tests.data_import.support import put, records

GUIDE = """
from jobrunner.bridge import get_distributed_bridge

bridge = get_distributed_bridge()
bridge.add_node("node_001", "localhost", 8900)

result = await bridge.execute_task(
    task_id="test_001",
    task_type="data_import",
    task_data={
        "symbols": ["000001.SZ", "000002.SZ"],
        "data_source": "tongdaxin",
        "start_date": "2024-01-01",
        "end_date": "2024-12-31",
    },
    priority=5,
    timeout=300
)

print(f"{result.status} {result.result} {result.error}")
"""


def run(lines: str) -> dict[str, Any]:
    """Run lines with ``await`` in them, as an interactive shell does; returns their names."""
    names: dict[str, Any] = {}
    code = compile(lines, "the guide", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = FunctionType(code, names)()
    if inspect.iscoroutine(done):
        asyncio.run(done)
    return names


@pytest.fixture
def vipdoc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two symbols of three days, one of which lies outside the guide's year; and a folder to be at home in."""
    for name in ("sz000001.day", "sz000002.day"):
        put(tmp_path / "vipdoc", name, records([20231229, 20240102, 20240103]))
    monkeypatch.setenv("JOBRUNNER_DATA_DIR", str(tmp_path / "home"))
    return tmp_path / "vipdoc"


def assert_imported(names: dict[str, Any], where: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    result = names["result"]
    assert (result.status, result.error, result.task_id, result.node_id) == ("completed", None, "test_001", where)
    counts = [result.result[name] for name in ("symbols_count", "imported_count", "total_records")]
    assert counts == [2, 2, 4]
    assert result.execution_time > 0
    assert (result.completed_at - result.started_at).total_seconds() >= 0
    assert capsys.readouterr().out.startswith("completed {'task_type': 'data_import', 'symbols_count': 2")


def test_the_guides_lines_with_a_node(world: World, vipdoc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = world.node("Worker-1", JOBRUNNER_TDX_ROOT=str(vipdoc))
    names = run(GUIDE.replace("8900", str(node.port)))
    assert_imported(names, "node_001", capsys)
    assert names["bridge"].has_available_nodes()
    assert names["bridge"].remove_node("node_001")
    assert not names["bridge"].has_available_nodes()
    names["bridge"].close()


def test_the_guides_lines_without_a_node(
    vipdoc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOBRUNNER_TDX_ROOT", str(vipdoc))
    without = "\n".join(line for line in GUIDE.splitlines() if "add_node" not in line)
    names = run(without)
    assert_imported(names, None, capsys)
    names["bridge"].close()


def test_there_is_one_bridge_until_it_is_closed() -> None:
    first = get_distributed_bridge()
    assert get_distributed_bridge() is first
    first.close()
    second = get_distributed_bridge()
    assert second is not first
    first.close()
    assert get_distributed_bridge() is second, "an old one, closed again, closes no other"

    async def inside() -> None:
        async with second as same:
            assert isinstance(same, DistributedBridge)

    asyncio.run(inside())
    third = get_distributed_bridge()
    assert third is not second
    third.close()
