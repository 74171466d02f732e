"""Servers that are no jobrunner, or answer nothing: told as what they are, and when the caller's time is over."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobrunner.client import AsyncClient, Client, OutcomeUnknown, Request, Unreachable, WaitTimeout
from jobrunner.client import rest as resting
from jobrunner.client.blocking import iterate
from jobrunner.client.remote import Remote
from jobrunner.errors import JobrunnerError
from tests.api.serving import serving
from tests.client.answering import Script

LOOKS: list[Callable[[Client], Any]] = [
    lambda client: client.task("mine"),
    lambda client: client.handle("mine").wait(),
    lambda client: next(client.handle("mine").logs()),
]
CHANGES: list[Callable[[Client], Any]] = [
    lambda client: client.submit("nap"),
    lambda client: client.retry("mine"),
    lambda client: client.cancel("mine"),
]


@pytest.fixture(scope="module")
def foreign() -> Iterator[str]:
    """Answers everything with an object of its own."""
    with serving(Script([(200, {}, {"ok": True, "status": 200})])) as url:
        yield url


@pytest.mark.parametrize("ask", LOOKS)
def test_a_look_finds_no_jobrunner(foreign: str, ask: Callable[[Client], Any]) -> None:
    with Client(foreign, patience=0) as client, pytest.raises(Unreachable, match="its answer is not jobrunner's"):
        ask(client)


@pytest.mark.parametrize("ask", CHANGES)
def test_of_a_change_nobody_knows(foreign: str, ask: Callable[[Client], Any]) -> None:
    with Client(foreign, patience=0) as client, pytest.raises(OutcomeUnknown, match="its answer is not jobrunner's"):
        ask(client)


def test_of_many_nobody_knows(foreign: str) -> None:
    with Client(foreign, patience=0) as client:
        told = client.submit_many([Request("nap"), Request("nap")])
    assert [type(one) for one in told] == [OutcomeUnknown, OutcomeUnknown]
    assert {len(getattr(one, "task_id", "")) for one in told} == {36}
    few = Script([(200, {}, {"results": [{"status": 202, "task_id": "a", "task_status": "pending"}]})])
    with serving(few) as url, Client(url, patience=0) as client:
        assert [type(one) for one in client.submit_many([Request("nap")] * 2)] == [OutcomeUnknown] * 2


def test_a_desk_says_so_too(foreign: str) -> None:
    looks: list[Callable[[Remote], Any]] = [
        lambda desk: desk.why("mine"),
        lambda desk: desk.schedules(),
        lambda desk: desk.queues(),
        lambda desk: desk.node("n"),
        lambda desk: desk.types(),
        lambda desk: desk.stats(),
        lambda desk: desk.errors(),
        lambda desk: desk.error("f"),
        lambda desk: desk.keys(),
        lambda desk: desk.audit(),
        lambda desk: desk.carry_on("o"),
        lambda desk: desk.operations(),
    ]
    changes: list[Callable[[Remote], Any]] = [
        lambda desk: desk.save_schedule("s", {}),
        lambda desk: desk.pause_schedule("s"),
        lambda desk: desk.run_schedule("s"),
        lambda desk: desk.remove_schedule("s"),
        lambda desk: desk.pause_queue("q"),
        lambda desk: desk.limit_queue("q", {}),
        lambda desk: desk.purge_queue("q"),
        lambda desk: desk.drain_node("n"),
        lambda desk: desk.create_key({}),
        lambda desk: desk.rotate_key("k", 0.0),
        lambda desk: desk.revoke_key("k"),
        lambda desk: desk.operate("cancel", ids=["a"]),
        lambda desk: desk.abort_operation("o"),
    ]
    asked: list[tuple[Callable[[Remote], Any], bool]] = [
        *((ask, False) for ask in looks),
        *((ask, True) for ask in changes),
        (lambda desk: desk.task("mine"), False),
        (lambda desk: desk.nodes(), False),
        (lambda desk: desk.overview(), False),
        (lambda desk: desk.submit("nap", {}, {}), True),
        (lambda desk: desk.retry("mine"), True),
    ]
    with Remote(foreign) as desk:
        for ask, arrived in asked:
            with pytest.raises(Unreachable) as found:
                ask(desk)
            assert found.value.arrived is arrived


def test_a_wait_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "LAST_WORD", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hung:  # connects, and says nothing
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        began = time.monotonic()
        with Client(url) as client, pytest.raises(WaitTimeout, match="how it stands nobody says") as over:
            client.handle("mine").wait(0.2)
        assert (over.value.status, isinstance(over.value.__cause__, JobrunnerError)) == ("", True)
        with Client(url) as client:
            core = client._core
            many = list(iterate(core.results([f"{n}" for n in range(50)], 0.0, return_exceptions=True)))
        assert [type(one) for one in many] == [WaitTimeout] * 50  # and not each a moment later

        async def work() -> None:
            async with AsyncClient(url) as client:
                await client.handle("mine").result(0.2)

        with pytest.raises(WaitTimeout):
            asyncio.run(work())
        assert 0.4 <= time.monotonic() - began < 8.0
