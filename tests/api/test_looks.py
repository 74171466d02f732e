"""One look at the database for all who ask at the same time, and never one from before the asking."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobrunner.api.looks import Shared
from jobrunner.errors import DatabaseUnavailable


def test_nobody_gets_what_was_seen_before_the_asking() -> None:
    state = ["old"]
    entered, go_on = threading.Event(), threading.Event()

    def look() -> str:
        seen = state[0]
        entered.set()
        go_on.wait(5)
        return seen

    shared = Shared(look)
    with ThreadPoolExecutor(2) as threads:
        early = threads.submit(shared.get)
        assert entered.wait(5)
        state[0] = "new"
        late = threads.submit(shared.get)  # asks while a look from before the change is under way
        time.sleep(0.05)
        go_on.set()
        assert (early.result(5), late.result(5)) == ("old", "new")


def test_many_at_once_share() -> None:
    looks = []

    def look() -> int:
        time.sleep(0.1)
        looks.append(1)
        return len(looks)

    shared = Shared(look)
    with ThreadPoolExecutor(20) as threads:
        told = list(threads.map(lambda _: shared.get(), range(20)))
    assert max(told) == len(looks) <= 3


def test_a_failure_is_shared_and_forgotten() -> None:
    looks = []

    def look() -> str:
        looks.append(1)
        if len(looks) == 1:
            raise DatabaseUnavailable("away")
        return "back"

    shared = Shared(look, 0.2)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            shared.get()
    assert len(looks) == 1
    time.sleep(0.25)
    assert shared.get() == "back"
