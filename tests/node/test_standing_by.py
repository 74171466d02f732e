"""Who hears of work claims for an idle worker; whatever happens meanwhile, nothing is lost by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from jobrunner.db.engine import Database
from jobrunner.errors import DatabaseUnavailable
from jobrunner.node import feed, looking
from tests.both_databases.moves import row
from tests.node import waiting_tasks
from tests.node.waiting_tasks import begun, gate
from tests.node.working import Working, statuses, submit, until, working


@pytest.fixture(autouse=True)
def _gates() -> Iterator[None]:
    waiting_tasks.reset()
    yield
    waiting_tasks.open_all()


def _stands_by(node: Working) -> None:
    until(lambda: bool(node.worker._claims._standing), "it is idle")


def _have_begun(count: int) -> None:
    until(lambda: len(begun()) == count, f"{count} have begun")


def test_who_hears_of_work_claims_it_in_his_own_thread(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    by: list[str] = []

    def note(point: str) -> None:
        if point == "claim-after-commit":  # which is passed only where something was found
            by.append(threading.current_thread().name)

    monkeypatch.setattr(looking, "hit", note)
    with working(database, poll_interval=60.0) as node:
        for number in range(30):
            time.sleep(0.1)  # so that looks of its own are rare
            _stands_by(node)
            submit(database, 1, "node.quick")
            node.worker.heard_of_work()
            _have_begun(number + 1)
            if by.count(threading.current_thread().name) == 3:  # the others met a look of the worker's own
                break
        else:
            pytest.fail(f"who claimed: {by}")
    assert len(by) == number + 1


def test_nobody_claims_for_a_worker_that_has_its_hands_full(database: Database) -> None:
    submit(database, 1, "node.wait_inline", payload={"until": "told"})
    with working(database, inline=1) as node:
        until(lambda: len(begun()) == 1, "its only slot of that kind is taken")
        submit(database, 2, "node.wait_inline", payload={"until": "told"})
        for _ in range(5):
            node.worker.heard_of_work()
            time.sleep(0.02)
        assert (len(node.held), statuses(database)) == (1, {"running": 1, "pending": 2})
        gate("told").set()
        until(lambda: statuses(database)["completed"] == 3, "all end")


def test_nobody_claims_for_a_worker_that_was_told_to_stop_though_its_loop_is_held(database: Database) -> None:
    with working(database) as node:
        _stands_by(node)
        held = threading.Event()
        assert node.worker._loop is not None
        node.worker._loop.call_soon_threadsafe(held.wait, 20)
        node.worker.drain("the test says so")
        [task_id] = submit(database, 1, "node.quick")
        node.worker.heard_of_work()
        held.set()
    assert row(database, task_id).attempt == 0


def test_nobody_claims_for_a_loop_that_gives_no_sign_of_life(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(database) as node:
        _stands_by(node)
        monkeypatch.setattr(node.worker, "stalled", lambda: True)
        held = threading.Event()
        assert node.worker._loop is not None
        node.worker._loop.call_soon_threadsafe(held.wait, 20)
        [task_id] = submit(database, 1, "node.quick")
        node.worker.heard_of_work()
        assert row(database, task_id).attempt == 0
        held.set()
        until(lambda: row(database, task_id).status == "completed", "the loop finds it by itself")


@pytest.mark.parametrize("stops", [False, True])
def test_what_is_claimed_while_the_worker_turns_to_something_else_is_not_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    def slow(point: str) -> None:
        if point == "claim-after-commit" and threading.current_thread().name == "hears":
            gate("claimed").set()
            gate("go on").wait(10)

    monkeypatch.setattr(looking, "hit", slow)
    with working(database) as node:
        _stands_by(node)
        [task_id] = submit(database, 1, "node.quick")
        hears = threading.Thread(target=node.worker.heard_of_work, name="hears")
        hears.start()
        until(gate("claimed").is_set, "it is claimed, and the worker does not know")
        (node.worker.drain if stops else lambda _why: node.worker.wake())("the test says so")
        time.sleep(0.1)
        assert not node.held.all()
        gate("go on").set()
        hears.join()
        if not stops:
            until(lambda: row(database, task_id).status == "completed", "it runs")
    found = row(database, task_id)
    assert found.status in ("pending", "completed"), "nobody has it any more"
    assert (found.attempt, found.crashes, found.failures) == (1, 0, 0)


def test_an_outage_while_somebody_claims_costs_a_poll(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(point: str) -> None:
        if threading.current_thread() is threading.main_thread():
            raise DatabaseUnavailable("it is away")

    with working(database, poll_interval=0.2) as node:
        _stands_by(node)
        monkeypatch.setattr(looking, "hit", away)
        [task_id] = submit(database, 1, "node.quick")
        node.worker.heard_of_work()
        until(lambda: row(database, task_id).status == "completed", "the poll finds it")
        assert row(database, task_id).attempt == 1


def test_who_found_work_looks_again_soon_though_nobody_hints(database: Database) -> None:
    """The hints of who submits on and on are ten a second, and behind a pooler none comes."""
    with working(database, poll_interval=60.0) as node:
        _stands_by(node)
        node.submit(1, "node.quick")
        _have_begun(1)
        for number in range(4):
            submit(database, 1, "node.quick")
            _have_begun(number + 2)


def test_more_than_was_claimed_for_it_is_looked_for_by_the_worker(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who claims for it takes what there was room for, and cannot know what else there is."""
    monkeypatch.setattr(feed, "SOON", 60.0)
    with working(database, poll_interval=60.0, async_=2) as node:
        _stands_by(node)
        submit(database, 12, "node.nap")
        node.worker.heard_of_work()
        until(lambda: statuses(database)["completed"] == 12, "all end")
