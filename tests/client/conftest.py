"""Real processes of jobrunner for clients to ask, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobrunner.client import Client
from tests.client.world import World
from tests.processes import Process, Processes, free_port

ROOT = Path(__file__).parents[2]
CHORES = """
import asyncio
from jobrunner.errors import Cancel
from jobrunner.handlers import Context, task


@task("nap")
async def nap(seconds: float = 0.0) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@task("fall", max_attempts=1)
async def fall() -> None:
    raise ValueError("fell")


@task("total")
async def total(numbers: list[int], plus: int = 0) -> int:
    return sum(numbers) + plus


@task("talk")
async def talk(ctx: Context) -> None:
    for number in range(3):
        ctx.log(f"line {number}", number=number)
        await asyncio.sleep(0.2)


@task("decline")
async def decline() -> None:
    raise Cancel("not today")
"""

Start = Callable[..., Process]


@pytest.fixture
def start(processes: Processes, tmp_path: Path) -> Start:
    """Begins a process of a role at a database, with the chores, and waits until it is ready."""
    (tmp_path / "chores.py").write_text(CHORES)

    def begin(url: str, role: str, port: int | None = None, **more: str) -> Process:
        env = {
            "PYTHONPATH": str(ROOT),
            "JOBRUNNER_DATABASE_URL": url,
            "JOBRUNNER_HANDLERS": "chores",
            "JOBRUNNER_LOG_FORMAT": "json",
            **more,
        }
        at = () if port is None else ("--port", str(port))
        process = processes.start(role, *at, env=env, port=port)
        process.wait_for_line(r'"event": "ready"')
        return process

    return begin


@pytest.fixture
def server(database_url: str, start: Start) -> Process:
    """``jobrunner up``, once on each database."""
    return start(database_url, "up", free_port())


@pytest.fixture
def client(server: Process) -> Iterator[Client]:
    """A plain client of it."""
    with Client(server.url) as opened:
        yield opened


@pytest.fixture
def world(processes: Processes, tmp_path: Path, sqlite_url: str) -> World:
    """A world of nodes, in which nothing runs yet."""
    return World(processes, tmp_path, sqlite_url)
