"""What goes over the wire between processes: nothing twice, nothing too long, and again after a broken link."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest
from sqlalchemy import text

from jobrunner.db import hints as module
from jobrunner.db.engine import Database
from jobrunner.db.hints import Hints
from jobrunner.db.notes import CANCEL, CHANNEL, ENDED, WATCH, WORK, ids_of
from jobrunner.queue import store
from jobrunner.queue.request import new_task


class Side:
    """One process: its hints, and what it heard."""

    def __init__(self, url: str, *, listen: bool = True, ends: bool = False) -> None:
        self.database = Database(url)
        self.heard: list[str] = []
        self.hints = Hints(self.database, self.heard.append, listen=listen, ends=ends)
        self.hints.start()

    def close(self) -> None:
        self.hints.stop()
        self.database.dispose()

    def ids(self, topic: str) -> list[str]:
        return [task_id for told in self.heard if ids_of(told)[0] == topic for task_id in ids_of(told)[1]]


Open = Callable[..., Side]


@pytest.fixture
def side(postgres_url: str) -> Iterator[Open]:
    opened: list[Side] = []

    def start(**how: bool) -> Side:
        opened.append(Side(postgres_url, **how))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def until(true: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def listening(url: str, count: int) -> None:
    """Wait until so many connections have asked to listen last."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as conn:
        found = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
        until(lambda: (conn.execute(found).fetchone() or (0,))[0] >= count)


def test_each_hint_is_heard_once_by_its_sender_and_once_by_others(side: Open) -> None:
    one, two = side(), side()
    until(lambda: one.heard == two.heard == [WORK])  # who begins to listen looks for what it missed
    one.heard.clear()
    two.heard.clear()
    one.hints.send(CANCEL)
    until(lambda: CANCEL in two.heard)
    two.hints.send("back")  # comes after anything that one could hear of itself
    until(lambda: "back" in one.heard)
    assert (one.heard, two.heard) == ([CANCEL, "back"], [CANCEL, "back"])


def test_a_thousand_ids_arrive(side: Open, postgres_url: str) -> None:
    one, two = side(listen=False), side()
    listening(postgres_url, 1)
    wanted = [f"{number:x}".rjust(200, "号") for number in range(1_000)]
    one.hints.tell(WATCH, wanted)
    until(lambda: len(two.ids(WATCH)) == 1_000)
    assert two.ids(WATCH) == wanted


def test_ends_are_heard_by_those_alone_who_asked(side: Open, postgres_url: str) -> None:
    one, worker, waiter = side(listen=False), side(), side(listen=False)
    listening(postgres_url, 1)
    waiter.hints.hear_ends()
    waiter.hints.tell(WATCH, ["a"])
    until(lambda: worker.ids(WATCH) == ["a"])
    one.hints.tell(ENDED, ["a"])  # it listens by now: it did before its announcement went out
    until(lambda: waiter.ids(ENDED) == ["a"])
    one.hints.tell("last")
    until(lambda: "last" in worker.heard)
    assert worker.ids(ENDED) == []
    assert "last" not in waiter.heard


def test_a_topic_waits_for_more_of_itself_and_for_no_other(side: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COALESCE", 3.0)
    one, two = side(), side()
    until(lambda: one.heard == two.heard == [WORK])
    two.heard.clear()
    one.hints.tell(WORK)
    until(lambda: two.heard == [WORK])
    began = time.monotonic()
    for _ in range(5):
        one.hints.tell(WORK)
    one.hints.tell(WATCH, ["a"])
    until(lambda: two.ids(WATCH) == ["a"])
    assert two.heard.count(WORK) == 1
    until(lambda: two.heard.count(WORK) == 2)
    assert time.monotonic() - began > 1.5


def test_a_broken_link_is_made_anew_and_what_waited_is_sent(
    side: Open, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONNECT", 0.2)
    one = side()
    until(lambda: one.heard == [WORK])
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as link:
        link.execute(f"LISTEN {CHANNEL}")
        one.heard.clear()
        link.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        one.hints.tell(WATCH, ["a"])
        assert [note.payload for note in link.notifies(timeout=10, stop_after=1)] == [f"{WATCH}\na"]
        until(lambda: one.heard == [WORK])  # it listens anew, and looks for what it missed
        link.execute("SELECT pg_notify(%s, %s)", [CHANNEL, CANCEL])
        until(lambda: one.heard == [WORK, CANCEL])


def test_what_is_told_within_the_gap_arrives_when_it_ends_though_nobody_is_woken(side: Open, postgres_url: str) -> None:
    sender, hearer = side(listen=False), side()
    listening(postgres_url, 1)
    told = [f'it\'s \\{n} "%s" 汉字; --' for n in range(40)]

    def heard(task_id: str) -> bool:
        return task_id in hearer.ids(WATCH)

    for number, task_id in enumerate(told):
        sender.hints.tell(WATCH, [task_id])
        until(partial(heard, task_id))
        time.sleep(module.COALESCE * number / 20)  # the next one comes at every moment of the gap, and behind it
    assert hearer.ids(WATCH) == told


def test_work_that_is_told_of_on_and_on_is_heard_seldom_and_the_last_word_too(side: Open) -> None:
    """Eight processes that each sent one every 5 ms lost a third of their rate."""
    one, two = side(), side()
    until(lambda: one.heard == two.heard == [WORK])
    two.heard.clear()
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        one.hints.tell(WORK)
        one.hints.tell(CANCEL)
        time.sleep(0.001)
    one.hints.tell("last")
    one.hints.tell(WORK)
    until(lambda: "last" in two.heard)
    seldom, often = two.heard.count(WORK), two.heard.count(CANCEL)
    print(f"FIGURE in 1.5 s of telling on and on: work {seldom} times, cancels {often} times")
    assert 5 <= seldom < often / 2
    told = len(two.heard)
    until(lambda: WORK in two.heard[told - 1 :] or two.heard[-2:] == [WORK, "last"])


def test_a_note_goes_with_the_commit_of_its_task_and_with_no_other(side: Open, postgres_url: str) -> None:
    database, other = side(listen=False).database, side()
    until(lambda: other.heard == [WORK])
    other.heard.clear()
    with database.begin() as conn:
        assert store.enqueue(conn, new_task("work", {}, task_id="a"), notes={"first": []}).created
        conn.execute(text("SELECT pg_sleep(0.2)"))
        assert other.heard == []
    until(lambda: other.heard == ["first"])
    with database.begin() as conn:
        assert not store.enqueue(conn, new_task("work", {}, task_id="a"), notes={"twice": []}).created
    with pytest.raises(ZeroDivisionError), database.begin() as conn:
        store.enqueue(conn, new_task("work", {}, task_id="b"), notes={"undone": []})
        raise ZeroDivisionError
    with database.single() as conn:
        store.enqueue(conn, new_task("work", {}, task_id="c"), notes={"last": ["c"]})
    until(lambda: len(other.heard) > 1)
    assert other.heard == ["first", "last\nc"]
