"""Back-off: bounded, spread over the whole span, and never an overflow."""

from __future__ import annotations

import random

import pytest

from jobrunner.queue.retry import Retry, delay


def _most() -> float:
    return 1.0


@pytest.mark.parametrize(("failures", "ceiling"), [(1, 2.0), (2, 4.0), (5, 32.0), (9, 512.0), (10, 600.0), (99, 600.0)])
def test_the_ceiling_doubles_up_to_the_cap(failures: int, ceiling: float) -> None:
    assert delay(Retry(), failures, _most) == ceiling


def test_jitter_covers_the_whole_span() -> None:
    source = random.Random(7)
    waits = [delay(Retry(base=10.0), 1, source.random) for _ in range(2_000)]
    assert 0 <= min(waits) < 0.1
    assert 9.9 < max(waits) <= 10.0
    assert 4.7 < sum(waits) / len(waits) < 5.3


def test_thousands_of_failures_do_not_overflow() -> None:
    assert delay(Retry(factor=1e300), 5_000, _most) == 600.0


def test_no_wait_at_all_can_be_asked_for() -> None:
    assert delay(Retry(base=0.0), 3, _most) == 0.0


@pytest.mark.parametrize(
    "bad", [{"base": -1.0}, {"base": float("nan")}, {"factor": 0.5}, {"cap": -1.0}, {"cap": 1e300}]
)
def test_nonsense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Retry"):
        Retry(**bad)
