"""The event stream, read over a real connection."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2
import pytest

from jobrunner.api import create_app
from jobrunner.api.routes import events
from jobrunner.db.engine import Database
from jobrunner.queue import store
from tests.api.asking import EXECUTE
from tests.api.conftest import Api
from tests.api.serving import serving
from tests.api.streams import streaming
from tests.both_databases.moves import end, take


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with serving(create_app(api.service())) as found:
        yield found


def test_a_change_is_told_by_id_alone(api: Api, url: str, database: Database) -> None:
    with streaming(api, url) as stream:
        assert stream.wait_for(1) == [("snapshot", {})]
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["content-type"].startswith("text/event-stream")
        httpx2.post(url + EXECUTE, json={"task_type": "work", "task_id": "t", "task_data": {"secret": "payload"}})
        assert stream.wait_for(2)[1] == ("changed", {"tasks": {"t": "pending"}})
        task = take(database)[0]
        assert stream.wait_for(3)[2] == ("changed", {"tasks": {"t": "running"}})
        end(database, task)
        assert stream.wait_for(4)[3] == ("changed", {"tasks": {"t": "completed"}})
        ids = [seen[3] for seen in stream.seen]
        assert len(set(ids)) == len(ids)


def test_a_new_reader_gets_present_states(api: Api, url: str, database: Database) -> None:
    for number in range(3):
        httpx2.post(url + EXECUTE, json={"task_type": "work", "task_id": f"t{number}"}, verify=False)
    take(database, 1)
    with streaming(api, url) as stream:
        event, told = stream.wait_for(1)[0]
        assert event == "snapshot"
        assert told["tasks"] == {"t0": "running", "t1": "pending", "t2": "pending"}


def test_at_most_two_messages_a_second(api: Api, url: str) -> None:
    with streaming(api, url) as stream:
        stream.wait_for(1)
        began = time.monotonic()
        until = began + 2.5
        with httpx2.Client(verify=False) as client:
            while time.monotonic() < until:
                client.post(url + EXECUTE, json={"task_type": "work"})
        stream.wait_for(3)
        took = time.monotonic() - began
        assert len(stream.seen) <= took / events.EVERY + 2, "and each of hundreds was a change"


def test_a_stopping_process_takes_no_reader(api: Api, url: str) -> None:
    api.asked.stopping = True
    assert httpx2.get(f"{url}/api/v1/events").status_code == 503


def test_there_are_never_too_many_readers(api: Api, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "STREAMS_MAX", 1)
    with streaming(api, url) as stream:
        stream.wait_for(1)
        refused = httpx2.get(f"{url}/api/v1/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")


def test_one_key_does_not_take_the_streams_of_all(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STREAMS_OF_ONE", 1)
    with database.begin() as conn:
        mine, other = (store.issue_key(conn, name, ["read"]).text for name in ("mine", "other"))
    with serving(create_app(api.service())) as url, streaming(api, url, x_api_key=mine) as stream:
        stream.wait_for(1)
        refused = httpx2.get(f"{url}/api/v1/events", headers={"x-api-key": mine})
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
        with streaming(api, url, x_api_key=other) as theirs:
            theirs.wait_for(1)


def test_an_encoded_percent_reaches_the_right_task(url: str) -> None:
    where = httpx2.post(url + EXECUTE, json={"task_type": "work", "task_id": "a%2Fb"}).headers["location"]
    assert httpx2.get(url + where).json()["task_id"] == "a%2Fb"
    assert httpx2.get(f"{url}/api/v1/task/a%2Fb/status").status_code == 404
