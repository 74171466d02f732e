"""Bars of one symbol on their way from a source to the database.

Loads numpy: import it only in the process that imports data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

BAR = np.dtype(
    [
        ("position", "<i8"),  # record or line number in the source, from 1
        ("session", "datetime64[D]"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),  # in the source's unit; NaN: unknown
        ("amount", "<f8"),  # currency; NaN: unknown
        ("flags", "<i4"),
    ]
)

FLAG_PRICE_ORDER = 1  # high or low does not enclose open and close
FLAG_SCALE = 2  # amount over volume lies far outside low and high
FLAG_OVERFLOW = 4  # the volume was put together again from an overflow marker
FLAG_NOT_POSITIVE = 8  # a price is zero or negative

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that is kept out of the bars: where it stands, and why."""

    position: int
    reason: str


@dataclass(slots=True)
class Frame:
    """The bars of one symbol as its source has them, and what was wrong with the rest.

    ``bars`` is a structured array of ``BAR``. ``unit`` is the number of base units (shares, bonds) per volume,
    ``zone`` and ``close`` say when a session ends, ``raw`` gives the source's own record at a position.
    """

    symbol: str
    bars: NDArray[np.void]
    unit: int
    zone: str
    close: time
    raw: Callable[[int], dict[str, Any]]
    rejects: list[Reject] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outside: int = 0  # bars that exist, but not in the range asked for

    @property
    def rows_read(self) -> int:
        """Records in the range asked for, and those rejected."""
        return len(self.bars) + len(self.rejects)


def reject(frame: Frame, bad: Mask, reason: str | Callable[[int], str]) -> None:
    """Move the bars under the mask ``bad`` to the rejects. ``reason`` is a sentence, or gives one for an index."""
    for index in np.flatnonzero(bad):
        position = int(frame.bars["position"][index])
        told = reason if isinstance(reason, str) else reason(int(index))
        frame.rejects.append(Reject(position, told))
    frame.bars = frame.bars[~bad]
