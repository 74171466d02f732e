"""The checker itself: each broken promise is seen, and a clean run is not accused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.history import Ended, History, Line, Row, violations

ASKS = "asks for its effect"
LINES = (
    Line("a", 1, "begin", 1.0, 1),
    Line("a", 1, ASKS, 1.0, 1),
    Line("a", 1, "end", 2.0, 1),
    Line("b", 1, "begin", 1.0, 1),
    Line("b", 1, ASKS, 1.0, 1),
    Line("b", 2, "begin", 5.0, 2),
    Line("b", 2, ASKS, 5.0, 2),
    Line("b", 2, "end", 6.0, 2),
)
CLEAN = History(
    accepted=("a", "b"),
    rows=(Row("a", "completed", 1), Row("b", "completed", 2)),
    ended=(Ended("b", 1, "lost"),),
    lines=LINES,
    effects=(("a", 1), ("b", 2)),
)


def test_a_clean_run_is_not_accused() -> None:
    assert violations(CLEAN) == []
    late = (*LINES, Line("b", 1, "end", 5.5, 1))
    assert violations(replace(CLEAN, lines=late)) == [], "an attempt whose lease ran out may still have been busy"


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (replace(CLEAN, accepted=("a", "b", "c")), "c: lost"),
        (replace(CLEAN, accepted=("a",)), "b: nobody asked"),
        (replace(CLEAN, rows=(Row("a", "running", 1), CLEAN.rows[1]), effects=None), "a: still running"),
        (replace(CLEAN, ended=()), "have no row"),
        (replace(CLEAN, ended=(*CLEAN.ended, Ended("a", 1, "lost"))), "have no row"),
        (replace(CLEAN, lines=(*LINES, Line("a", 1, "begin", 3.0, 3))), "began 2 times"),
        (replace(CLEAN, lines=(*LINES, Line("a", 2, "begin", 3.0, 3))), "nobody counted it"),
        (
            replace(CLEAN, lines=(*LINES, Line("b", 1, "end", 5.5, 1)), ended=(Ended("b", 1, "released"),)),
            "ran at once",
        ),
        (replace(CLEAN, effects=(("b", 2),)), "completed without its effect"),
        (replace(CLEAN, effects=(*(CLEAN.effects or ()), ("b", 1))), "an effect of attempt 1 stands"),
        (replace(CLEAN, effects=(*(CLEAN.effects or ()), ("a", 1))), "its effect stands 2 times"),
    ],
)
def test_every_broken_promise_is_seen(broken: History, told: str) -> None:
    assert any(told in one for one in violations(broken)), violations(broken)
