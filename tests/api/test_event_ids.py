"""A stream that broke off goes on where it was, or says that it cannot; and streams of some queues."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from jobrunner.api import changes, create_app, keyring, ring
from jobrunner.api.changes import NOTHING, States
from jobrunner.api.looks import Looks
from jobrunner.api.ring import Ring
from jobrunner.db.engine import Database
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.api.conftest import KEY, Api
from tests.api.serving import serving
from tests.api.streams import EVENTS, streaming
from tests.both_databases.moves import add, end, take

pytestmark = pytest.mark.ci


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with serving(create_app(api.service())) as found:
        yield found


def states(**tasks: str) -> States:
    return States({name: (status, "") for name, status in tasks.items()}, {}, {})


class Told:
    """A ring that sees what it is told to see."""

    def __init__(self) -> None:
        self.now = NOTHING
        self.ring = Ring(lambda _before: self.now)

    def look(self, **tasks: str) -> ring.Moment:
        self.now = states(**tasks)
        return self.ring.look()


def test_what_changed_since_is_told_as_it_stands_now() -> None:
    told = Told()
    first = told.look(a="pending")
    second = told.look(a="running", b="pending")
    third = told.look(a="completed", b="pending")
    assert third.since(first.id) == {"tasks": {"a": "completed", "b": "pending"}}
    assert third.since(second.id) == {"tasks": {"a": "completed"}}
    assert third.since(third.id) == {}
    assert told.look(a="completed", b="pending").id == third.id
    for unknown in ("", "-", first.name, f"{first.name}-", f"{first.name}-9", f"{first.name}--1", "other-0", "é-١"):
        assert third.since(unknown) is None, unknown


def test_what_is_too_long_ago_is_not_known_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    ids = [told.look(a=str(number)).id for number in range(ring.KEPT + 2)]
    now = told.look(a=str(ring.KEPT + 1))
    assert now.since(ids[0]) is None
    assert now.since(ids[1]) == {"tasks": {"a": str(ring.KEPT + 1)}}


def test_after_a_pause_in_which_more_may_have_happened_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("jobrunner.api.ring.time.monotonic", lambda: clock[0])
    told = Told()
    first = told.look(a="pending")
    clock[0] += ring.FORGOTTEN - 1
    assert told.look(a="running").since(first.id) == {"tasks": {"a": "running"}}
    clock[0] += ring.FORGOTTEN + 1
    assert told.look(a="running").since(first.id) is None
    before = told.look(a="running")
    clock[0] += ring.UNSEEN + 1
    flood = {f"t{number}": "pending" for number in range(changes.NEWEST)}
    assert told.look(**flood).since(before.id) is None


@pytest.mark.parametrize("queues", [None, frozenset({"default"})])
def test_every_end_is_told_however_many_end_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, queues: frozenset[str] | None
) -> None:
    """More than a look takes in: they are looked for by their ids, and where there are too many nothing is known."""

    def fill(names: str) -> None:
        with database.begin() as conn:
            store.enqueue_many(conn, [new_task("work", {}, task_id=f"{names}{number}") for number in range(400)])

    def end_all() -> None:
        with database.begin() as conn:
            over = update(tasks).where(tasks.c.finished_at.is_(None)).values(status="completed", finished_at=db_now())
            conn.execute(over.values(token=None, lease_until=None))

    looks = Looks(database).moments(queues)
    monkeypatch.setattr(looks, "_seconds", 0.0)
    fill("first")
    take(database, 350)
    first = looks.get()
    assert len(first.states.tasks) == changes.NEWEST + changes.RUNNING
    end_all()
    fill("then")
    take(database, 350)
    second = looks.get()
    told = (second.since(first.id) or {})["tasks"]
    assert {told.get(name) for name in first.states.tasks} == {"completed"}
    third = looks.get()
    assert third.id == second.id
    assert len(first.states.tasks.keys() & third.states.tasks.keys()) <= changes.LAST, "what has ended is told once"
    monkeypatch.setattr(changes, "OPEN_MOST", 40)
    end_all()
    assert looks.get().since(third.id) is None


def test_a_stream_goes_on_where_it_broke_off(api: Api, url: str, database: Database) -> None:
    add(database, task_id="a")
    with streaming(api, url) as stream:
        assert stream.wait_for(1) == [("snapshot", {"tasks": {"a": "pending"}})]
        last = stream.seen[0][3]
    add(database, task_id="b")
    with streaming(api, url, last_event_id=last) as stream:
        assert stream.wait_for(1) == [("changed", {"tasks": {"b": "pending"}})]
        last = stream.seen[0][3]
        take(database)
        assert stream.wait_for(2)[1] == ("changed", {"tasks": {"a": "running", "b": "running"}})
    with streaming(api, url, last_event_id=last) as stream:
        assert stream.wait_for(1) == [("changed", {"tasks": {"a": "running", "b": "running"}})]
        last = stream.seen[0][3]
    with streaming(api, url, last_event_id=last) as stream:
        time.sleep(1.2)
        assert stream.seen == []


@pytest.mark.parametrize("last", ["0123abcd-7", "nonsense"])
def test_an_id_of_another_server_is_reset(api: Api, url: str, database: Database, last: str) -> None:
    add(database, task_id="a")
    with streaming(api, url, last_event_id=last) as stream:
        assert stream.wait_for(2) == [("reset", {}), ("snapshot", {"tasks": {"a": "pending"}})]
        assert [bool(seen[3]) for seen in stream.seen] == [False, True]


def test_one_queue_alone(api: Api, url: str, database: Database) -> None:
    add(database, task_id="mine", queue="mine")
    add(database, task_id="theirs")
    with streaming(api, url, f"{EVENTS}?queue=mine") as stream:
        assert stream.wait_for(1) == [("snapshot", {"tasks": {"mine": "pending"}})]
        taken = take(database)
        assert stream.wait_for(2)[1] == ("changed", {"tasks": {"mine": "running"}})
        for task in taken:
            end(database, task)
        assert stream.wait_for(3)[2] == ("changed", {"tasks": {"mine": "completed"}})


def test_a_key_of_named_queues_hears_of_these_alone(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    with database.begin() as conn:
        key = store.issue_key(conn, "mine", ["read"], queues=["mine", "ours"]).text
        store.register(conn, NODE)
    for task_id in ("mine", "ours", "theirs"):
        add(database, task_id=task_id, queue=task_id)

    def heard(path: str, last: str = "") -> list[tuple[str, dict[str, Any]]]:
        with streaming(api, here, path, x_api_key=key, last_event_id=last) as stream:
            return stream.wait_for(2 if last else 1)

    with serving(create_app(api.service(api_key=KEY))) as here:
        both = {"tasks": {"mine": "pending", "ours": "pending"}}
        assert heard(EVENTS) == [("snapshot", both)]
        assert heard(f"{EVENTS}?queue=ours") == [("snapshot", {"tasks": {"ours": "pending"}})]
        assert heard(f"{EVENTS}?queue=theirs") == [("snapshot", {})]
        with streaming(api, here, x_api_key=KEY) as stream:
            told = stream.wait_for(1)[0][1]
            assert (len(told["tasks"]), told["nodes"]) == (3, ["n1"])
            of_all = stream.seen[0][3]
        assert heard(EVENTS, of_all) == [("reset", {}), ("snapshot", both)], "an id of all is none of these queues"


NODE: dict[str, Any] = {
    "id": "n1",
    "name": "w1",
    "host": "h",
    "pid": 1,
    "version": "0",
    "state": "active",
    "types": json.dumps(["work"]),
    "slots": 1,
}
