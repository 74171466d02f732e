"""Requests that wait for the end of a task, over real connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from jobrunner.api import Service, create_app
from jobrunner.api import waits as module
from jobrunner.db.engine import Database
from tests.api.asking import EXECUTE
from tests.api.conftest import Api
from tests.api.serving import serving
from tests.both_databases.moves import add, end, take

NEVER = 60.0  # seconds, between two looks


@dataclass
class Served:
    """An application at its address."""

    url: str
    app: Any
    service: Service

    @property
    def waits(self) -> module.Waits:
        found: module.Waits = self.app.state.waits
        return found

    def waiting(self) -> int:
        return sum(room.count for room in self.waits._rooms.values())

    def get(self, path: str, **query: Any) -> httpx2.Response:
        return httpx2.get(f"{self.url}/api/v1/{path}", params=query, timeout=40, verify=False)


@pytest.fixture
def served(api: Api) -> Iterator[Served]:
    service = api.service()
    app = create_app(service)
    with serving(app) as url:
        yield Served(url, app, service)
        api.asked.stopping = True


def until(true: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def never_look(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOONEST", "LATEST"):
        monkeypatch.setattr(module, name, NEVER)


def count_looks(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The looks that are over, as they come to be."""
    looked: list[str] = []
    look = served.waits._look

    def counted(task_id: str) -> Any:
        found = look(task_id)
        looked.append(task_id)
        return found

    monkeypatch.setattr(served.waits, "_look", counted)
    return looked


@pytest.mark.parametrize("path", ["tasks/t", "task/t/status"])
def test_the_answer_comes_with_the_end(
    served: Served, database: Database, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    never_look(monkeypatch)
    looked = count_looks(served, monkeypatch)
    add(database, task_id="t")
    with ThreadPoolExecutor() as asking:
        answer = asking.submit(served.get, path, wait=30)
        until(lambda: looked == ["t"])
        end(database, take(database)[0])
        time.sleep(0.3)
        assert not answer.done(), "nobody told, and nobody looks"
        served.service.ends.ended(["other", "t"])
        told = answer.result(5).json()
    assert (told["status"], told["result"]) == ("completed", {"ok": True})
    assert served.waiting() == 0
    assert not served.service.ends.watched


def test_a_lost_hint_costs_a_look(served: Served, database: Database) -> None:
    add(database, task_id="t")
    with ThreadPoolExecutor() as asking:
        answer = asking.submit(served.get, "tasks/t", wait=30)
        until(lambda: served.waiting() == 1)
        end(database, take(database)[0])
        assert answer.result(5).json()["status"] == "completed"


def test_what_has_ended_and_what_is_not_there_is_told_at_once(served: Served, database: Database) -> None:
    add(database, task_id="t")
    end(database, take(database)[0])
    began = time.monotonic()
    assert served.get("tasks/t", wait=30).json()["status"] == "completed"
    assert served.get("tasks/nobody", wait=30).status_code == 404
    assert time.monotonic() - began < 10


def test_the_time_ends_a_wait(served: Served, database: Database) -> None:
    add(database, task_id="t")
    began = time.monotonic()
    assert served.get("tasks/t", wait=0.7).json()["status"] == "pending"
    assert 0.7 <= time.monotonic() - began < 5
    began = time.monotonic()
    assert served.get("tasks/t", wait=0).json()["status"] == "pending"
    assert served.get("task/t/status", other=1).json()["status"] == "pending"


def test_a_task_that_was_added_this_moment_is_found_too(served: Served, database: Database) -> None:
    made = httpx2.post(served.url + EXECUTE, json={"task_type": "work"}).json()["task_id"]
    with ThreadPoolExecutor() as asking:
        answer = asking.submit(served.get, f"tasks/{made}", wait=30)
        end(database, take(database)[0])  # before the wait began, or after: nobody tells
        assert answer.result(5).json()["status"] == "completed"


@pytest.mark.parametrize("wait", ["31", "-1", "nan", "inf", "long", ""])
def test_a_wait_that_is_none_is_refused(served: Served, wait: str) -> None:
    answer = served.get("tasks/t", wait=wait)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "?wait")


def test_a_cancel_ends_a_wait(served: Served, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    never_look(monkeypatch)
    add(database, task_id="t")
    with ThreadPoolExecutor() as asking:
        answer = asking.submit(served.get, "tasks/t", wait=30)
        until(lambda: served.waiting() == 1)
        assert httpx2.post(f"{served.url}/api/v1/tasks/t/cancel", json={}).status_code == 200
        assert answer.result(5).json()["status"] == "cancelled"


def test_a_stop_ends_a_wait(served: Served, api: Api, database: Database) -> None:
    add(database, task_id="t")
    with ThreadPoolExecutor() as asking:
        answer = asking.submit(served.get, "tasks/t", wait=30)
        until(lambda: served.waiting() == 1)
        api.asked.stopping = True
        assert answer.result(5).json()["status"] == "pending"


def test_who_goes_away_waits_no_more(served: Served, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    never_look(monkeypatch)
    add(database, task_id="t")
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{served.url}/api/v1/tasks/t?wait=30", timeout=0.5)
    until(lambda: served.waiting() == 0, 15)
    assert not served.service.ends.watched


def test_many_wait_without_a_thread_or_a_connection_each(
    served: Served, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_look(monkeypatch)
    for number in range(150):
        add(database, task_id=f"t{number}")
    with ThreadPoolExecutor(150) as asking:
        answers = [asking.submit(served.get, f"tasks/t{number}", wait=30) for number in range(150)]
        until(lambda: served.waiting() == 150, 30)
        time.sleep(0.5)
        # Starlette has 40 threads and the database 6 connections: were one held by each, nothing would be answered.
        began = time.monotonic()
        assert len(served.get("tasks", limit=200).json()["tasks"]) == 150
        assert time.monotonic() - began < 5
        served_by = sum("AnyIO" in thread.name for thread in threading.enumerate())
        assert served_by <= 40
        for task in take(database, 150):
            end(database, task)
        served.service.ends.ended([f"t{number}" for number in range(150)])
        assert {answer.result(20).json()["status"] for answer in answers} == {"completed"}


def test_beyond_so_many_waits_the_present_is_told(
    served: Served, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITS_MOST", 1)
    add(database, task_id="t")
    with ThreadPoolExecutor() as asking:
        first = asking.submit(served.get, "tasks/t", wait=30)
        until(lambda: served.waiting() == 1)
        began = time.monotonic()
        assert served.get("tasks/t", wait=30).json()["status"] == "pending"
        assert time.monotonic() - began < 5
        end(database, take(database)[0])
        assert first.result(5).json()["status"] == "completed"
