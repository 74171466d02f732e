"""How programs write it, and that a type checker sees what they get: mypy reads this file with all others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any, assert_type

import pytest

import jobrunner.client
from jobrunner.client import (
    AsyncClient,
    AsyncHandle,
    Client,
    Event,
    Handle,
    LogLine,
    Request,
    Task,
    TaskState,
)
from jobrunner.client.blocking import run
from jobrunner.errors import JobrunnerError
from jobrunner.queue.task import Status
from tests.processes import Process
from tests.unit.test_house import HEAVY


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_plain(server: Process) -> None:
    with Client(server.url) as client:
        assert_type(client, Client)
        handle = assert_type(client.submit("nap", {"seconds": 0.0}, priority=1, tags=["a"]), Handle)
        assert_type(handle.result(20), dict[str, Any] | None)
        task = assert_type(handle.wait(), Task)
        assert_type(task.status, Status)
        assert_type(handle.logs(follow=True), Iterator[LogLine])
        assert_type(handle.events(), Iterator[TaskState])
        assert_type(client.events(), Iterator[Event])
        assert_type(client.map("nap", [{}]), Iterator[dict[str, Any] | None])
        all_ends = client.map("nap", [{}], return_exceptions=True)
        assert_type(all_ends, Iterator[dict[str, Any] | JobrunnerError | None])
        assert_type(client.submit_many([Request("nap")]), list[Handle | JobrunnerError])
        assert (task.tags, task.priority, task.ended) == (("a",), 1, True)
        assert task.created_at is not None
        assert task.created_at.utcoffset() is not None
        with pytest.raises(JobrunnerError, match="prio"):
            client.submit("nap", prio=1)  # type: ignore[call-arg]  # no such option, as mypy says too
        with pytest.raises(ValueError, match="or database_url"):
            Client(server.url, database_url="sqlite:///any.db")
        with pytest.raises(ValueError, match="or config"):
            Client(server.url, config="jobrunner.json")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_in_a_loop(server: Process) -> None:
    async def work() -> None:
        async with AsyncClient(server.url) as client:
            assert_type(client, AsyncClient)
            handle = assert_type(await client.submit("nap"), AsyncHandle)
            assert_type(await handle.result(20), dict[str, Any] | None)
            assert_type(handle.logs(), AsyncGenerator[LogLine, None])
            assert_type(client.map("nap", [{}]), AsyncGenerator[dict[str, Any] | None, None])
            assert_type(await client.submit_many([Request("nap")]), list[AsyncHandle | JobrunnerError])

    asyncio.run(work())


def test_importing_it_loads_no_database() -> None:
    script = (
        "from jobrunner.client import AsyncClient, Client, TaskFailed; import sys; Client('http://127.0.0.1:1').close();"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert set(told.stdout.split()) & {*HEAVY, "typer", "pydantic"} == set()


def test_the_names_are_sorted_and_there() -> None:
    names = jobrunner.client.__all__
    assert names == sorted(names)
    assert [name for name in names if getattr(jobrunner.client, name, None) is None] == []
    with pytest.raises(AttributeError):
        _ = jobrunner.client.Nothing


def test_what_would_wait_for_a_loop_is_no_plain_call() -> None:
    class Suspends:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def work() -> None:
        await Suspends()

    with pytest.raises(RuntimeError, match="wait for a loop"):
        run(work())
