"""Answers that get lost: asked again under the same id where that is sound, told truthfully where it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from jobrunner.client import AsyncClient, Client, Handle, OutcomeUnknown, Request, Unreachable, WaitTimeout
from jobrunner.client import rest as resting
from jobrunner.client.remote import Remote
from jobrunner.errors import StateConflict
from tests.client.conftest import Start
from tests.client.wire import Wire
from tests.processes import Process, free_port

pytestmark = pytest.mark.ci


@pytest.fixture
def wire(server: Process) -> Iterator[Wire]:
    with Wire(server.url) as opened:
        yield opened


def made(server: Process, task_type: str = "total") -> list[str]:
    """The ids of all tasks of a type."""
    with Remote(server.url) as desk:
        return [task["task_id"] for task in desk.tasks(task_type=task_type, limit=200)["tasks"]]


def test_a_lost_answer_to_a_submission_makes_one_task(server: Process, wire: Wire) -> None:
    with Client(wire.url) as client:
        wire.lose(2)
        handle = client.submit("total", {"numbers": [1]})
        assert len(wire.heard) == 3
        assert handle.result(20) == {"value": 1}
    assert made(server) == [handle.task_id]


async def _submit(url: str) -> str:
    async with AsyncClient(url) as client:
        return (await client.submit("total", {"numbers": [1]})).task_id


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_asynchronous_client_does_the_same(server: Process, wire: Wire) -> None:
    wire.lose(1)
    task_id = asyncio.run(_submit(wire.url))
    assert len(wire.heard) == 2
    assert made(server) == [task_id]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_many_whose_answer_is_lost_are_there_once(server: Process, wire: Wire) -> None:
    with Client(wire.url) as client:
        client.submit_many([Request("nap"), Request("nap")])  # it knows now whether the server takes batches
        wire.lose(1)
        told = client.submit_many(Request("total", {"numbers": [n]}) for n in range(5))
    assert sorted(made(server)) == sorted(one.task_id for one in told if isinstance(one, Handle))
    assert len(told) == len(made(server)) == 5


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_says_so_in_time(server: Process, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(wire.url, patience=0.5) as client:
        client.submit_many([Request("nap"), Request("nap")])
        wire.lose(1_000)
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown) as unknown:
            client.submit("total", {"numbers": [1]})
        assert time.monotonic() - began < 8
        assert len(wire.heard) >= 2
        assert made(server) == [unknown.value.task_id]
        assert client.handle(unknown.value.task_id).wait(20).status == "completed"
        many = client.submit_many([Request("talk"), Request("talk")])
    assert isinstance(many[0], OutcomeUnknown)
    assert many[0].task_id in made(server, "talk")
    monkeypatch.setattr(resting, "AT_LEAST", 0.5)
    with Client(f"http://127.0.0.1:{free_port()}", patience=0.5) as nowhere:
        with pytest.raises(Unreachable, match="no jobrunner answers"):
            nowhere.submit("total", {"numbers": [1]})
        with pytest.raises(WaitTimeout, match="how it stands nobody says"):  # its own time is over first
            nowhere.handle("any").wait(0.2)
        with pytest.raises(Unreachable):
            nowhere.handle("any").wait(60)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_asked_twice_would_be_done_twice_is_asked_once(server: Process, wire: Wire) -> None:
    with Client(wire.url) as client:
        fallen = client.submit("fall")
        fallen.wait(20)
        before = len(wire.heard)
        wire.lose(1)
        with pytest.raises(OutcomeUnknown):
            fallen.retry()
        assert len(wire.heard) == before + 1
        assert fallen.wait(20).attempt == 2
        wire.lose(1)
        waits = client.submit("nap", delay=3_600)
        wire.lose(1)
        assert waits.cancel().status == "cancelled"  # asked twice, which is as good as once
        wire.lose(1)
        with pytest.raises(StateConflict):
            fallen_once = client.submit("nap")
            fallen_once.wait(20)
            fallen_once.cancel()


def test_a_server_that_starts_again_is_waited_for(database_url: str, start: Start) -> None:
    port = free_port()
    server = start(database_url, "up", port)
    with Client(server.url) as client:
        handle = client.submit("nap", {"seconds": 0.3}, delay=2)
        stream = client.events()
        assert handle.task_id in next(stream).tasks
        server.stop()
        start(database_url, "up", port)
        for event in stream:
            if event.tasks.get(handle.task_id) == "completed":
                break
        assert handle.result(20) == {"slept": 0.3}
