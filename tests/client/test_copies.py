"""Clients in forked copies of their process: each asks on connections of its own, and leaves the parent's alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from jobrunner.client import AsyncClient, Client, ClientClosed
from jobrunner.db.deadline import WATCHDOG
from tests.api.serving import serving
from tests.client.answering import TASK
from tests.unit.test_deadline import LONG

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


def copy(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin ``work`` in a forked copy; call what is returned for what it came to: a JSON value, or an error's text."""
    out, into = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is forked while it has threads is the point
        pid = os.fork()
    if not pid:
        signal.alarm(20)
        try:
            told = work()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(into, json.dumps(told).encode())
        os._exit(0)  # pytest is the parent's
    os.close(into)

    def told_by_it() -> Any:
        with open(out) as lines:
            told = lines.read()
        os.waitpid(pid, 0)
        return json.loads(told)

    return told_by_it


async def ports(scope: Any, receive: Any, send: Any) -> None:
    """A server that tells of each task the port of the connection on which it was asked for."""
    await receive()
    told = {"task_id": "mine", "status": "completed", **TASK, "priority": scope["client"][1]}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


def test_at_a_server() -> None:
    with serving(ports) as url:
        with Client(url, patience=0) as client:
            port = client.task("mine").priority
            inner = copy(
                lambda: [client.task("mine").priority, copy(lambda: client.task("mine").priority)(), _end(client)]
            )
            first, second, ended = inner()
            assert len({port, first, second}) == 3
            assert ended.startswith("this client is closed")
            assert client.task("mine").priority == port  # nobody closed it, or spoke on it

        async def look(client: AsyncClient) -> int:
            return (await client.task("mine")).priority

        async def work() -> None:
            async with AsyncClient(url, patience=0) as client:
                port = await look(client)
                assert await asyncio.to_thread(lambda: copy(lambda: asyncio.run(look(client)))()) != port
                assert await look(client) == port

        asyncio.run(work())


def _end(client: Client) -> str:
    client.close()
    with pytest.raises(ClientClosed) as closed:
        client.task("mine")
    return str(closed.value)


def test_at_a_database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    with Client(database_url=postgres_url, run_here=False) as client:
        client.submit("nap", {"n": -1}, task_id="first")
        stream = client.events()
        assert next(stream).tasks == {"first": "pending"}
        monkeypatch.setenv("JOBRUNNER_DATABASE_URL", "sqlite:////nowhere")  # the copies ask where their parent does

        def many(name: str) -> list[Any]:
            handles = [client.submit("nap", {"n": n}, task_id=f"{name}-{n}") for n in range(20)]
            return [handle.status().task_data["n"] for handle in handles]

        copies = [copy(partial(many, name)) for name in ("a", "b")]
        assert [many("c"), *(told() for told in copies)] == [[*range(20)]] * 3
        assert copy(lambda: next(stream))().startswith("JobrunnerError: this stream was begun before")
        assert len(next(stream).tasks) == 60


def test_a_lock_that_a_thread_held_is_no_copys(postgres_url: str) -> None:
    with Client(database_url=postgres_url, run_here=False) as client:
        with client._core._making:
            began = time.monotonic()
            told = copy(lambda: client.task("mine"))()
        assert told == "TaskNotFound: no task 'mine'"
        assert time.monotonic() - began < 5


def test_a_copy_has_deadlines_too() -> None:
    def late() -> str:
        link = sqlite3.connect(":memory:")
        with pytest.raises(sqlite3.OperationalError, match="interrupted"), WATCHDOG.guard(link, 0.05):
            link.execute(LONG)
        return "in time"

    with WATCHDOG.guard(sqlite3.connect(":memory:"), 3600):
        assert copy(late)() == "in time"
