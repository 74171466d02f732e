"""The checker itself: each broken promise is seen under its number, and a clean run is not accused."""

from __future__ import annotations

from pathlib import Path

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
    alive = [str(mutant) for mutant in mutants if _lives(mutant)]
    print(f"FIGURE {len(mutants)} small changes of the checker, {len(alive)} of them unseen")
    assert alive == []


def _lives(mutant: CheckerMutant) -> bool:
    judges = mutant.judges()
    try:
        return all(check(clean, judges) == [] for clean, _ in ALLOWED) and all(
            any(str(one).startswith(told) for one in check(broken, judges)) for broken, told in BROKEN
        )
    except (AttributeError, TypeError, KeyError, IndexError, ValueError):
        return False  # it does not even run


def test_a_line_that_a_kill_left_half_written_says_nothing(tmp_path: Path) -> None:
    whole = '{"task_id": "a", "attempt": 1, "what": "begin", "at": 1.0, "pid": 1}'
    (tmp_path / "ledger").write_text(f"\n{whole[:30]}\n{whole}\n{whole[:50]}")
    assert lines(tmp_path / "ledger") == [Line("a", 1, "begin", 1.0, 1)]
