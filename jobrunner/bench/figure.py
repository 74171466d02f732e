"""A figure: what jobrunner reached and what stood beside it, round by round, and the goal."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Goal:
    """What is wanted: ``value`` for the median ratio, or (``of="ours"``) for the median of jobrunner's own rounds."""

    value: float
    of: Literal["ratio", "ours"] = "ratio"


@dataclass(frozen=True)
class Figure:
    """One line of the report. ``ours`` and ``beside`` hold one value a round, in ``unit``, in the order of the rounds.

    ``against`` says what stands beside; ``beside`` is empty where nothing does. ``more`` is True where more is better.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    beside: tuple[float, ...] = ()
    against: str = ""
    more: bool = True
    goal: Goal | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """jobrunner's value over the other, round by round; rounds in which the other was 0 have none."""
        return tuple(mine / other for mine, other in zip(self.ours, self.beside, strict=False) if other)

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal or without a value."""
        if self.goal is None:
            return None
        value = self.ratio if self.goal.of == "ratio" else middle(self.ours)
        if value is None:
            return None
        return value >= self.goal.value if self.more else value <= self.goal.value

    def document(self) -> dict[str, Any]:
        """As JSON."""
        ratios = self.ratios
        return {
            "name": self.name,
            "unit": self.unit,
            "rounds": len(self.ours),
            "ours": [_short(value) for value in self.ours],
            "bare": [_short(value) for value in self.beside],
            "bare_is": self.against,
            "ours_median": _short(middle(self.ours)),
            "bare_median": _short(middle(self.beside)),
            "ratio": _short(self.ratio),
            "ratio_min": _short(min(ratios, default=None)),
            "ratio_max": _short(max(ratios, default=None)),
            "more_is_better": self.more,
            "goal": None if self.goal is None else {"value": self.goal.value, "of": self.goal.of},
            "reached": self.reached,
        }


@dataclass
class Measured:
    """What one measurement came to: its figures, how many units of work each side did, and what to know besides."""

    figures: list[Figure] = field(default_factory=list)
    work: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def did(self, side: str, count: int) -> None:
        """``count`` more units of work were seen done, each exactly once."""
        self.work[side] = self.work.get(side, 0) + count


def middle(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of them do not exceed (nearest rank); ``values`` must not be empty."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
