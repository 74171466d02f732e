"""The stream of one task, until it has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from jobrunner.api import create_app, keyring
from jobrunner.api.routes import events
from jobrunner.db.engine import Database
from jobrunner.queue import store
from tests.api.asking import assert_problem
from tests.api.conftest import KEY, Api
from tests.api.serving import serving
from tests.api.streams import streaming
from tests.both_databases.moves import add, end, take

PATH = "/api/v1/tasks/t/events"


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with serving(create_app(api.service())) as found:
        yield found


def test_a_task_is_followed_to_its_end(api: Api, url: str, database: Database) -> None:
    add(database, task_id="t", payload={"secret": 1})
    add(database, task_id="other")
    with streaming(api, url, PATH) as stream:
        pending = {"task_id": "t", "queue": "default", "status": "pending", "reason": "due", "attempt": 0}
        pending |= {"progress": None, "message": ""}
        assert stream.wait_for(1) == [("state", pending)]
        task = next(task for task in take(database) if task.task_id == "t")
        running = {**pending, "status": "running", "reason": "running", "attempt": 1}
        assert stream.wait_for(2)[1] == ("state", running)
        with database.begin() as conn:
            store.progress(conn, {task.lease: (0.5, "half")})
        half = {**running, "progress": 0.5, "message": "half"}
        assert stream.wait_for(3)[2] == ("state", half)
        ended_at = time.monotonic()
        end(database, task)
        stream.wait_for(4)
        assert stream.ended.wait(15), "it ends with the task"
        assert stream.seen[-1][2]["status"] == "completed"
        assert stream.seen[-1][0] - ended_at < 8
        assert len(stream.seen) == 4
        assert len({seen[3] for seen in stream.seen}) == 4


def test_an_end_that_is_told_is_passed_on_at_once(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "EVERY", 60.0)
    for name in ("SOONEST", "LATEST"):
        monkeypatch.setattr(f"jobrunner.api.waits.{name}", 60.0)
    add(database, task_id="t")
    service = api.service()
    app = create_app(service)
    with serving(app) as url, streaming(api, url, PATH) as stream:
        stream.wait_for(1)
        task = take(database)[0]
        app.state.looks.followed.state("t")  # what others saw a moment ago is no answer
        end(database, task)
        service.ends.ended(["t"])
        assert stream.wait_for(2, within=15)[1][1]["status"] == "completed"
        assert stream.ended.wait(15)


def test_what_has_ended_is_told_once(api: Api, url: str, database: Database) -> None:
    add(database, task_id="t")
    end(database, take(database)[0])
    with streaming(api, url, PATH) as stream:
        assert stream.wait_for(1)[0][1]["status"] == "completed"
        assert stream.ended.wait(15)
    again = httpx2.get(url + PATH, headers={"last-event-id": stream.seen[0][3]})
    assert again.status_code == 204, "a browser need not come back"
    other = httpx2.get(url + PATH, headers={"last-event-id": "other"})
    assert (other.status_code, "completed" in other.text) == (200, True)


def test_a_state_that_is_known_is_not_told_again(api: Api, url: str, database: Database) -> None:
    add(database, task_id="t")
    with streaming(api, url, PATH) as stream:
        stream.wait_for(1)
    with streaming(api, url, PATH, last_event_id=stream.seen[0][3]) as stream:
        time.sleep(1.2)
        assert stream.seen == []
        take(database)
        assert stream.wait_for(1)[0][1]["status"] == "running"


def test_a_task_that_is_removed_ends_its_stream(api: Api, url: str, database: Database) -> None:
    add(database, task_id="t")
    with streaming(api, url, PATH) as stream:
        stream.wait_for(1)
        with database.begin() as conn:
            conn.exec_driver_sql("DELETE FROM tasks")
        assert stream.ended.wait(15)
    assert_problem(httpx2.get(url + PATH), 404, "task_not_found")


@pytest.fixture
def mine(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key that reads the queue ``mine`` alone."""
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    with database.begin() as conn:
        return store.issue_key(conn, "mine", ["read"], queues=["mine"]).text


def replace(database: Database) -> None:
    """Delete what there is, and let its id stand for a task of another queue."""
    with database.begin() as conn:
        conn.exec_driver_sql("DELETE FROM tasks")
    add(database, task_id="t", queue="theirs", payload={"secret": 1})


def test_another_queue_is_not_there(api: Api, database: Database, mine: str) -> None:
    add(database, task_id="t")
    keyed = api.client(api_key=KEY, headers={"x-api-key": mine})
    assert_problem(keyed.get(PATH), 404, "task_not_found")


def test_an_id_that_comes_to_stand_for_a_task_of_another_queue_ends_the_stream(
    api: Api, url: str, database: Database, mine: str
) -> None:
    add(database, task_id="t", queue="mine")
    with streaming(api, url, PATH, x_api_key=mine) as stream:
        stream.wait_for(1)
        replace(database)
        assert stream.ended.wait(15)
    assert [seen[2]["queue"] for seen in stream.seen] == ["mine"]


@pytest.mark.parametrize("path", ["/api/v1/tasks/t/result", "/api/v1/task/t/status"])
def test_and_is_not_there_for_who_waits(api: Api, url: str, database: Database, mine: str, path: str) -> None:
    add(database, task_id="t", queue="mine")
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(httpx2.get, url + path, params={"wait": "1.5"}, headers={"x-api-key": mine}, timeout=30)
        time.sleep(0.3)
        replace(database)
        answer = asked.result(30)
    assert "secret" not in answer.text
    assert_problem(answer, 404, "task_not_found")
