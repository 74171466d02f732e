"""Two sides in turn, so that what else the machine does falls on both."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def in_turn(number: int, ours: Callable[[], _T], bare: Callable[[], _T]) -> tuple[_T, _T]:
    """One round of both; the bare side begins the first, jobrunner the second, and so on. Returns ours, bare."""
    if number % 2 == 0:
        other = bare()
        return ours(), other
    mine = ours()
    return mine, bare()
