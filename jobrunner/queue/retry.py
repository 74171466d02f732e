"""How long a task waits before it is tried again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MAX_CAP = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Back-off in seconds: at most ``base * factor ** (failures - 1)``, and never more than ``cap``."""

    base: float = 2.0
    factor: float = 2.0
    cap: float = 600.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.base) and self.base >= 0):
            raise ValueError(f"Retry base takes 0 or more seconds, not {self.base!r}")
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError(f"Retry factor takes 1 or more, not {self.factor!r}")
        if not 0 <= self.cap <= MAX_CAP:
            raise ValueError(f"Retry cap takes 0 to {MAX_CAP:.0f} seconds, not {self.cap!r}")


def delay(retry: Retry, failures: int, random: Callable[[], float]) -> float:
    """Seconds until the next try after so many failures (1 or more), with full jitter.

    ``random`` yields 0 to 1, as ``random.random`` does. Jitter over the whole span, since a herd of tasks that failed
    together would otherwise come back together.
    """
    return random() * _ceiling(retry, failures)


def _ceiling(retry: Retry, failures: int) -> float:
    try:
        return min(retry.cap, retry.base * retry.factor ** (failures - 1))
    except OverflowError:
        return retry.cap
