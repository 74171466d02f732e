"""Waiting for tasks that a real worker runs: told at once, found anyway, and of no cost to tasks without a waiter."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from jobrunner.client import awaiting, local
from jobrunner.client import watch as watching
from jobrunner.client.awaiting import Awaiting
from jobrunner.client.desk import Answer, Desk
from jobrunner.client.local import Local
from jobrunner.client.remote import Remote
from jobrunner.client.watch import watch
from jobrunner.db.notes import ENDS
from tests.processes import free_port

NEVER = 60.0  # seconds, between two looks: whatever comes in time was told


@pytest.fixture
def desk(postgres_url: str, start: Any) -> Iterator[Local]:
    """At a database where a worker works."""
    start(postgres_url, "worker")
    with Local(postgres_url) as opened:
        submit(opened)  # it has published its types
        yield opened


def submit(desk: Desk, task_type: str = "nap", **task_data: Any) -> str:
    return str(desk.submit(task_type, task_data, {})["task_id"])


def wait(desk: Desk, *task_ids: str, timeout: float = 20.0) -> dict[str, Answer]:
    """How they ended; the desk stays open."""

    class Open:
        exclusive = False
        task = staticmethod(desk.task)
        wait = staticmethod(desk.wait)

        def __exit__(self, *_: object) -> None: ...

    opened: Any = Open()
    return {told["task_id"]: told for told in watch(lambda: opened, task_ids, timeout)}


def until_ended(desk: Desk, *task_ids: str) -> None:
    """Before anybody waits for them."""
    deadline = time.monotonic() + 30
    while any(desk.task(task_id)["status"] != "completed" for task_id in task_ids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def never_look(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOONEST", "LATEST"):
        monkeypatch.setattr(watching, name, NEVER)


def test_the_end_is_told(desk: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    never_look(monkeypatch)
    for task_type, status in [("nap", "completed"), ("fall", "failed"), ("nap", "completed")]:
        task_id = submit(desk, task_type, **({"seconds": 1.0} if task_type == "nap" else {}))
        began = time.monotonic()
        assert wait(desk, task_id)[task_id]["status"] == status
        assert time.monotonic() - began < 10
    task_id = submit(desk)
    until_ended(desk, task_id)
    began = time.monotonic()
    assert wait(desk, task_id)[task_id]["result"] == {"slept": 0.0}
    assert time.monotonic() - began < 10


def test_a_lost_hint_costs_a_look(desk: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Awaiting, "heard", lambda *_: None)
    task_id = submit(desk, seconds=0.3)
    began = time.monotonic()
    assert wait(desk, task_id)[task_id]["status"] == "completed"
    assert time.monotonic() - began < 5


@pytest.mark.ci
def test_a_thousand_are_waited_for(desk: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    never_look(monkeypatch)
    ids = [submit(desk, seconds=0.5) for _ in range(1_000)]
    told = wait(desk, *ids, timeout=50)
    assert [told[task_id]["status"] for task_id in ids] == ["completed"] * 1_000


def test_those_that_ended_before_they_were_waited_for_are_all_found(
    desk: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one look brings: nobody will tell of them."""
    never_look(monkeypatch)
    for module in (awaiting, local):
        monkeypatch.setattr(module, "PART", 3)
    ids = [submit(desk) for _ in range(20)]
    until_ended(desk, *ids)
    late = submit(desk, seconds=1.0)
    told = wait(desk, *ids, late)
    assert [told[task_id]["status"] for task_id in (*ids, late)] == ["completed"] * 21


def test_a_cancel_elsewhere_is_told(desk: Local, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    never_look(monkeypatch)
    task_id = str(desk.submit("nap", {}, {"delay": 3_600})["task_id"])
    with Local(postgres_url) as other:
        cancelling = threading.Timer(0.5, other.cancel, [task_id])
        cancelling.start()
        began = time.monotonic()
        assert wait(desk, task_id)[task_id]["status"] == "cancelled"
        assert time.monotonic() - began < 10
        cancelling.join()


def test_nothing_is_sent_about_tasks_that_nobody_waits_for(desk: Local, postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as link:
        link.execute(f"LISTEN {ENDS}")
        until_ended(desk, *(submit(desk) for _ in range(200)))
        for _ in range(20):
            submit(desk, seconds=0.3)  # end while somebody waits, for another
        watched = submit(desk, seconds=1.0)
        wait(desk, watched)
        # What comes is in the order in which it was sent, and only the last of them was waited for.
        assert [note.payload.split("\n")[1:] for note in link.notifies(timeout=5, stop_after=1)] == [[watched]]


def test_over_rest_in_one_process(sqlite_url: str, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    never_look(monkeypatch)
    with Remote(start(sqlite_url, "up", free_port()).url) as desk:
        ids = [submit(desk, seconds=seconds) for seconds in (0.6, 0.0, 0.3)]
        began = time.monotonic()
        assert {told["status"] for told in wait(desk, *ids).values()} == {"completed"}
        assert time.monotonic() - began < 10


def test_over_rest_at_a_process_that_only_serves(
    postgres_url: str, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_look(monkeypatch)
    start(postgres_url, "worker")
    with Remote(start(postgres_url, "api", free_port()).url) as desk:
        task_id = submit(desk, seconds=1.0)
        began = time.monotonic()
        assert wait(desk, task_id)[task_id]["result"] == {"slept": 1.0}
        assert time.monotonic() - began < 10
        waits = desk.submit("nap", {}, {"delay": 3_600})["task_id"]
        with Local(postgres_url) as local:
            cancelling = threading.Timer(0.5, desk.cancel, [waits])
            cancelling.start()
            began = time.monotonic()
            assert wait(local, waits)[waits]["status"] == "cancelled"
            assert time.monotonic() - began < 10
            cancelling.join()


def test_who_waits_is_answered_when_the_server_stops(postgres_url: str, start: Any) -> None:
    server = start(postgres_url, "api", free_port())
    with Local(postgres_url, allow_unknown=True) as local:
        task_id = submit(local)
    answers: list[httpx2.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(httpx2.get(f"{server.url}/api/v1/tasks/{task_id}?wait=20", timeout=25))
    )
    asking.start()
    time.sleep(1.0)
    assert answers == []
    began = time.monotonic()
    assert server.stop() == 0
    asking.join(5)
    assert [answer.json()["status"] for answer in answers] == ["pending"]
    assert time.monotonic() - began < 15
