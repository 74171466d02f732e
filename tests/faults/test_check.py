"""The checker itself: each broken promise is seen under its number, and a clean run is not accused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cases import ALLOWED, BROKEN
from tests.faults.check import check
from tests.faults.checker_mutants import CheckerMutant, checker_mutants
from tests.faults.history import History, Line, lines


@pytest.mark.parametrize(("clean", "why"), ALLOWED, ids=[why for _, why in ALLOWED])
def test_what_is_allowed_is_not_accused(clean: History, why: str) -> None:
    assert check(clean) == [], why


@pytest.mark.parametrize(("broken", "told"), BROKEN)
def test_every_broken_promise_is_seen(broken: History, told: str) -> None:
    assert any(str(one).startswith(told) for one in check(broken)), check(broken)


@pytest.mark.ci
@pytest.mark.timeout(300)
def test_every_line_of_it_counts() -> None:
    """However the checker is changed in one place, one of the cases above shows it."""
    mutants = list(checker_mutants())
    cases = [*((history, None) for history, _ in ALLOWED), *BROKEN]
    alive = [str(mutant) for mutant in mutants if _lives(mutant, cases)]
    print(f"FIGURE {len(mutants)} small changes of the checker, {len(alive)} of them unseen")
    assert alive == []


def _lives(mutant: CheckerMutant, cases: list[tuple[History, str | None]]) -> bool:
    """Whether no case sees it. One that does goes to the front: it is likely to see the next one too."""
    judges = mutant.judges()
    for place, (history, told) in enumerate(cases):
        if _sees(judges, history, told):
            cases.insert(0, cases.pop(place))
            return False
    return True


def _sees(judges: Sequence[Callable[..., Any]], history: History, told: str | None) -> bool:
    try:
        found = check(history, judges)
    except (AttributeError, TypeError, KeyError, IndexError, ValueError):
        return True  # it does not even run
    return found != [] if told is None else not any(str(one).startswith(told) for one in found)


def test_a_line_that_a_kill_left_half_written_says_nothing(tmp_path: Path) -> None:
    whole = '{"task_id": "a", "attempt": 1, "what": "begin", "at": 1.0, "pid": 1}'
    (tmp_path / "ledger").write_text(f"\n{whole[:30]}\n{whole}\n{whole[:50]}")
    assert lines(tmp_path / "ledger") == [Line("a", 1, "begin", 1.0, 1)]
