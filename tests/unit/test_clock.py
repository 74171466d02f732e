"""The clock of the duties: each comes round again, whatever became of it and of the others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jobrunner.runtime.clock import Clock, Duty

AT_ONCE, NEVER = 0.001, 3600.0
WITHIN = 10.0  # seconds
pytestmark = pytest.mark.timeout(30)


@contextmanager
def _running(*duties: Duty) -> Iterator[None]:
    clock = Clock(duties)
    clock.start()
    try:
        yield
    finally:
        clock.stop()


def test_each_comes_round_again_in_one_thread() -> None:
    seen: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()

    def act(name: str) -> None:
        seen.put((name, threading.get_ident()))

    with _running(Duty(lambda: act("one"), AT_ONCE), Duty(lambda: act("other"), AT_ONCE)):
        told = [seen.get(timeout=WITHIN) for _ in range(50)]
    assert {name for name, _ in told} == {"one", "other"}
    assert len({thread for _, thread in told}) == 1
    assert threading.get_ident() not in {thread for _, thread in told}


def test_one_that_fails_comes_round_again_too() -> None:
    tries: queue.SimpleQueue[str] = queue.SimpleQueue()

    def fail() -> None:
        tries.put("tried")
        raise ValueError("a defect")

    with _running(Duty(fail, AT_ONCE)):
        assert [tries.get(timeout=WITHIN) for _ in range(3)] == ["tried"] * 3


def test_a_duty_says_when_it_is_due_again_but_no_later_than_its_period() -> None:
    early: queue.SimpleQueue[str] = queue.SimpleQueue()
    late: queue.SimpleQueue[str] = queue.SimpleQueue()

    def soon() -> float:
        early.put("here")
        return AT_ONCE

    def much_later() -> float:
        late.put("here")
        return NEVER

    first = Duty(soon, NEVER)
    with _running(first, Duty(much_later, AT_ONCE)):
        assert [late.get(timeout=WITHIN) for _ in range(3)] == ["here"] * 3
        assert early.empty(), "it begins at some moment of its period"
    clock = Clock([first])
    assert [clock._rest(first), clock._rest(Duty(much_later, 5.0))] == [AT_ONCE, 5.0]


def test_nothing_is_done_after_the_stop() -> None:
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    clock = Clock([Duty(lambda: seen.put("here"), AT_ONCE)])
    clock.start()
    seen.get(timeout=WITHIN)
    clock.stop()
    clock._thread.join(WITHIN)
    assert not clock._thread.is_alive()
