"""Wake-ups: none is lost, and no kind of task waits for the quiet of another."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from jobrunner.db.engine import Database
from jobrunner.node import looking
from tests.node import waiting_tasks
from tests.node.waiting_tasks import begun, gate
from tests.node.working import submit, until, working


@pytest.fixture(autouse=True)
def _gates() -> Iterator[None]:
    waiting_tasks.reset()
    yield
    waiting_tasks.open_all()


def test_tasks_of_one_kind_begin_while_another_kind_is_busy_and_theirs_ran_dry(database: Database) -> None:
    """Nobody hints, and the busy kind gives the worker no quiet moment as long as a poll's."""
    submit(database, 300, "node.nap")
    with working(database, poll_interval=0.3, async_=2):
        until(lambda: len(begun()) > 10, "one kind is busy")
        [other] = submit(database, 1, "node.quick_inline")
        until(lambda: other in begun(), "the other kind is looked for")
        assert len(begun()) < 250, "it had to wait until the busy kind was through"


def test_a_hint_that_comes_during_a_look_is_not_lost(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look itself no longer finds what was committed after it began."""

    def slow(point: str) -> None:
        if point == "claim-after-commit" and not gate("looked").is_set():
            gate("looked").set()
            gate("look on").wait(10)

    monkeypatch.setattr(looking, "hit", slow)
    with working(database, poll_interval=30.0) as node:
        time.sleep(0.2)
        node.submit(1, "node.quick")
        until(lambda: gate("looked").is_set(), "it is found")
        [second] = node.submit(1, "node.quick")
        time.sleep(0.1)
        gate("look on").set()
        until(lambda: second in begun(), "it begins long before the next poll")
