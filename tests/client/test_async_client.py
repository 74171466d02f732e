"""The asynchronous client: what the plain one does, many at a time, and nothing left open by who goes away."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import psutil
import pytest

from jobrunner.client import AsyncClient, AsyncHandle, Client, Handle, Request, TaskCancelled, TaskFailed, WaitTimeout
from tests.processes import Process

Work = Callable[[AsyncClient], Coroutine[Any, Any, None]]


def within(server: Process, work: Work) -> None:
    """Run ``work`` with a client of its own, and look for what it leaves open."""

    async def whole() -> None:
        async with AsyncClient(server.url) as client:
            await work(client)
        assert connections(server) == 0

    asyncio.run(whole(), debug=True)


def connections(server: Process) -> int:
    """Connections of this process to the server."""
    found = psutil.Process().net_connections("tcp")
    return sum(
        1 for one in found if one.raddr and one.raddr.port == server.port and one.status == psutil.CONN_ESTABLISHED
    )


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_it_does_what_the_plain_one_does(server: Process) -> None:
    async def work(client: AsyncClient) -> None:
        handle = await client.submit("nap", {"seconds": 0.6})
        assert [state.status async for state in handle.events()][-1] == "completed"
        assert await handle.result() == {"slept": 0.6}
        talk = await client.submit("talk")
        assert [line.message async for line in talk.logs(follow=True)] == ["line 0", "line 1", "line 2"]
        with pytest.raises(TaskFailed) as failed:
            await (await client.submit("fall")).result(20)
        assert "chores.py" in str(failed.value.traceback)
        with pytest.raises(TaskCancelled):
            await (await client.submit("decline")).result(20)
        slow = await client.submit("nap", {"seconds": 30})
        with pytest.raises(WaitTimeout):
            await slow.wait(0.2)
        await slow.cancel()
        many = await client.submit_many(Request("nap", {"seconds": 0.5}) for _ in range(50))
        told = await asyncio.gather(*(one.result(20) for one in many if isinstance(one, AsyncHandle)))
        assert told == [{"slept": 0.5}] * 50
        sums = [one async for one in client.map("total", [1, 2, 3], argument="numbers", chunk=2)]
        assert sums == [{"value": 3}, {"value": 3}]
        ends = [one async for one in client.map("fall", [{}, {}], return_exceptions=True)]
        assert [type(one) for one in ends] == [TaskFailed, TaskFailed]
        last = await client.submit("nap")
        async with aclosing(client.events()) as events:
            assert last.task_id in (await anext(events)).tasks

    within(server, work)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_goes_away_leaves_nothing_open(server: Process) -> None:
    async def work(client: AsyncClient) -> None:
        handle = await client.submit("nap", {"seconds": 30})

        async def follow() -> None:
            async for _ in client.events():
                pass

        async def logs() -> None:
            async for _ in handle.logs(follow=True):
                pass

        async def states() -> None:
            async for _ in handle.events():
                pass

        waiting = [asyncio.create_task(one) for one in (handle.result(), handle.wait(20), follow(), logs(), states())]
        await asyncio.sleep(0.5)
        assert connections(server) >= 4
        for one in waiting:
            one.cancel()
        assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * len(waiting)
        assert connections(server) <= 1  # the submission's, kept for the next call
        assert not (await handle.status()).ended
        async with asyncio.timeout(5):
            await handle.cancel()
            with pytest.raises(TaskCancelled):
                await handle.result()
        stream = client.events()
        await anext(stream)  # and one that is left open, until the client is closed

    within(server, work)


@pytest.mark.parametrize(("plain", "looping"), [(Client, AsyncClient), (Handle, AsyncHandle)])
def test_both_have_the_same_names_and_arguments(plain: type, looping: type) -> None:
    def signatures(kind: type) -> dict[str, list[str]]:
        public = {name: one for name, one in inspect.getmembers(kind) if not name.startswith("_")}
        return {name: list(inspect.signature(one).parameters) for name, one in public.items() if callable(one)}

    assert signatures(plain) == signatures(looping)
    assert list(inspect.signature(plain).parameters) == list(inspect.signature(looping).parameters)
