"""Batches cost neither safety nor fairness: a worker takes what it can start, and nobody waits for a neighbour."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import delete, insert, select, update

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import queues, tasks
from jobrunner.db.types import db_now
from jobrunner.node import feed, lane, looking, watch
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.both_databases.moves import age_lease, left, reclaim, row
from tests.node import waiting_tasks
from tests.node.waiting_tasks import begun, gate
from tests.node.working import LEASE, Working, statuses, submit, until, working


@pytest.fixture(autouse=True)
def _gates() -> Iterator[None]:
    waiting_tasks.reset()
    yield
    waiting_tasks.open_all()


@pytest.fixture
def server(postgres_url: str) -> Iterator[Database]:
    """For what one writer cannot do."""
    opened = open_database(postgres_url)
    yield opened
    opened.dispose()


# -- no more than it can start ------------------------------------------------------------------------------------


@pytest.mark.parametrize("task_type", ["node.wait", "node.wait_inline"])
def test_of_slow_tasks_a_worker_holds_no_more_than_it_has_slots(database: Database, task_type: str) -> None:
    submit(database, 40, task_type, payload={"until": "told"})
    with working(database, inline=4, async_=4) as node:
        until(lambda: len(begun()) == 4, "four begin")
        for _ in range(3):
            node.worker.wake()
            time.sleep(0.1)
        assert (len(node.held), statuses(database)) == (4, {"running": 4, "pending": 36})
        gate("told").set()
        until(lambda: statuses(database)["completed"] == 40, "all end")


def test_a_pool_that_is_full_is_not_claimed_for_while_another_is_fed(database: Database) -> None:
    submit(database, 20, "node.wait_inline", payload={"until": "told"})
    with working(database, inline=2) as node:
        until(lambda: len(begun()) == 2, "the small pool is full")
        node.submit(300, "node.quick")
        until(lambda: statuses(database)["completed"] == 300, "the other goes on")
        assert statuses(database) == {"completed": 300, "running": 2, "pending": 18}


# -- nobody waits for a neighbour ---------------------------------------------------------------------------------


def test_a_slow_task_holds_back_no_result_of_a_quick_one(database: Database) -> None:
    slow = submit(database, 1, "node.wait", payload={"until": "told"})
    submit(database, 200, "node.quick")
    with working(database, async_=8):
        until(lambda: statuses(database) == {"completed": 200, "running": 1}, "the quick ones are recorded")
        assert row(database, slow[0]).status == "running"


def test_a_slow_effect_holds_back_no_other_outcome(server: Database) -> None:
    submit(server, 2, "node.slow_effect", payload={"until": "told"})
    with working(server) as node:
        until(lambda: gate("told, and asked").is_set(), "an effect is under way")
        node.submit(100, "node.quick")
        until(lambda: statuses(server) == {"completed": 100, "running": 2}, "the others are recorded")
        gate("told").set()
        until(lambda: statuses(server)["completed"] == 102, "then they are too")


def test_what_asks_for_it_is_recorded_without_waiting_for_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "GATHER", 60.0)
    with working(database) as node:
        node.submit(1, "node.quick")
        until(lambda: statuses(database)["completed"] == 1, "the first of a quiet time is written at once")
        node.submit(3, "node.quick")
        until(lambda: len(begun()) == 4, "three more run")
        time.sleep(0.3)
        assert statuses(database) == {"completed": 1, "running": 3}
        node.submit(1, "node.at_once")
        until(lambda: statuses(database) == {"completed": 5}, "it is written, and those that waited with it")


# -- what is claimed ahead ----------------------------------------------------------------------------------------


def _far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, the claim that takes the last quick task takes slow ones as well."""
    monkeypatch.setattr(feed, "AHEAD", 60.0)
    monkeypatch.setattr(feed, "QUICK", 0.0)
    for name in ("FULL_SHARE", "FULL_EVERY"):
        monkeypatch.setattr(looking, name, 0)
    monkeypatch.setattr(looking, "DEAR", 60.0)


def _ahead(node: Working, database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Bring the worker to hold tasks that it cannot begin: quick ones by the hundred, then slow ones."""
    _far_ahead(monkeypatch)
    monkeypatch.setattr(watch, "EVERY", 60.0)  # it would give them back
    submit(database, 1_500, "node.quick", priority=1)
    slow = submit(database, 150, "node.wait", payload={"until": "told"})
    node.start()
    until(lambda: statuses(database)["completed"] == 1_500, "the quick ones end", 30)
    until(lambda: len(begun()) == 1_504, "four slow ones begin")
    time.sleep(0.1)
    began = set(begun())
    held = {holding.task.task_id for holding in node.held.all()}
    waiting = [task_id for task_id in slow if task_id in held - began]
    assert len(waiting) > 1, "nothing was claimed ahead: the test means nothing"
    return waiting


def test_what_did_not_begin_is_given_back_uncharged_when_the_worker_drains(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(database, start=False, async_=4, grace=0.1) as node:
        waiting = _ahead(node, database, monkeypatch)
        node.worker.drain("told to")
        until(lambda: all(row(database, one).status == "pending" for one in waiting[:3]), "it is given back")
    for task_id in waiting:
        found = row(database, task_id)
        assert (found.status, found.attempt, found.releases, found.failures, found.losses) == ("pending", 1, 1, 0, 0)
        assert [one.outcome for one in left(database, task_id)] == ["released"]
    assert not set(waiting) & set(begun())
    assert statuses(database)["running"] == 0


def test_what_did_not_begin_can_be_cancelled_and_lost_unharmed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(database, start=False, async_=4) as node:
        cancelled, lost, *_ = _ahead(node, database, monkeypatch)
        with database.begin() as conn:
            store.cancel(conn, cancelled)
        age_lease(database, lost, 1)
        assert reclaim(database) == [lost]
        with database.begin() as conn:
            conn.execute(update(tasks).where(tasks.c.task_id == lost).values(run_at=db_now(3_600)))  # another's now
            found = store.renew(conn, node.held.leases(), LEASE)
        node.worker.renewed(found)
        until(lambda: row(database, cancelled).status == "cancelled", "it is cancelled")
        until(lambda: lost not in {one.task.task_id for one in node.held.all()}, "it is dropped")
        gate("told").set()
        until(lambda: statuses(database)["completed"] == 1_648, "all others end", 20)
    assert not {cancelled, lost} & set(begun())
    found_lost = row(database, lost)
    assert (found_lost.status, found_lost.attempt, found_lost.failures, found_lost.releases) == ("pending", 1, 0, 0)
    assert [one.outcome for one in left(database, cancelled)] == ["cancelled"]


def test_what_was_claimed_for_a_rate_that_fell_goes_back_to_the_queue(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _far_ahead(monkeypatch)
    submit(database, 1_500, "node.quick", priority=1)
    submit(database, 150, "node.wait", payload={"until": "told"})
    with working(database, async_=4):
        until(
            lambda: statuses(database) == {"completed": 1_500, "running": 4, "pending": 146}, "others may have them", 30
        )
        with database.read() as conn:
            found = conn.execute(select(tasks).where(tasks.c.status == "pending", tasks.c.attempt > 0)).all()
        assert found, "nothing was claimed ahead: the test means nothing"
        assert {(one.attempt, one.releases, one.failures) for one in found} == {(1, 1, 0)}
        told = {one.error for one in left(database, found[0].task_id)}
        assert told == {"given back before it began: no slot of this worker became free in time; nothing is charged"}, (
            "who looks at it reads that no harm was done"
        )
        gate("told").set()
        until(lambda: statuses(database)["completed"] == 1_650, "they are claimed again, though nobody hints", 20)


# -- short looks overlook nothing for long ------------------------------------------------------------------------

BACKLOG = 400  # naps, so many in eight slots that they take 1.5 s however fast the machine is
LONG = 4 * BACKLOG


def test_an_urgent_task_in_a_new_lane_begins_before_the_backlog_ends(database: Database) -> None:
    submit(database, LONG, "node.nap")
    submit(database, 8, "node.wait_inline", payload={"until": "told"})
    with working(database, inline=4, async_=8):
        until(lambda: len(begun()) > 40, "the backlog is under way")
        [urgent] = submit(database, 1, "node.quick", priority=1)
        until(lambda: urgent in begun(), "it begins")
        before = begun().index(urgent)
    print(f"FIGURE an urgent task in a lane that nobody looked into began after {before} of {LONG} tasks")
    assert before < LONG * 0.75


def test_a_task_that_was_committed_late_begins_before_the_backlog_ends(server: Database) -> None:
    """Its place lies before the last that was taken, where no short look begins."""
    with server.begin() as conn:
        late = store.enqueue(conn, new_task("node.quick", {})).task_id
        submit(server, LONG, "node.nap")
        with working(server, async_=8):
            until(lambda: len(begun()) > 80, "the backlog is under way, longer than short looks look back")
            conn.commit()
            until(lambda: late in begun(), "it begins")
            before = begun().index(late)
    print(f"FIGURE a task that was committed late began after {before} of {LONG} tasks")
    assert before < LONG * 0.75


def test_a_queue_that_is_paused_while_it_is_drained_is_left_alone(database: Database) -> None:
    submit(database, BACKLOG, "node.nap", queue="p")
    with working(database, poll_interval=0.1, async_=8) as node:
        until(lambda: len(begun()) > 40, "it is under way")
        with database.begin() as conn:
            conn.execute(insert(queues).values(name="p", paused_at=db_now()))
        until(lambda: statuses(database)["running"] == 0, "what was claimed before comes to its end")
        stood = statuses(database)
        assert stood["pending"] > 0, "the backlog ended first: the test means nothing"
        node.submit(20, "node.quick")
        until(lambda: statuses(database)["completed"] == stood["completed"] + 20, "other queues go on")
        time.sleep(0.3)
        with database.read() as conn:
            claimed = conn.execute(select(tasks.c.id).where(tasks.c.queue == "p", tasks.c.attempt > 0)).all()
        assert len(claimed) == stood["completed"]
        with database.begin() as conn:
            conn.execute(delete(queues))
        until(lambda: statuses(database)["completed"] == BACKLOG + 20, "it goes on", 30)
