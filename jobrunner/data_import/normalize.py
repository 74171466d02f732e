"""From a source's bars to the rows of ``market_bars``.

Loads numpy: import it only in the process that imports data.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from jobrunner.data_import.frame import Frame
from jobrunner.db.types import to_micros

COLUMNS = ("ts", "session", "open", "high", "low", "close", "volume", "amount", "flags")


def rows(frame: Frame) -> list[list[Any]]:
    """One list per bar, in the order of ``COLUMNS``, as JSON values.

    ``ts`` is the session's close in microseconds since 1970 UTC, ``session`` the exchange's day as YYYY-MM-DD, volume
    is in base units (shares, bonds), amount in currency; None where the source does not say.
    """
    bars = frame.bars
    sessions: list[date] = bars["session"].tolist()
    return [
        list(row)
        for row in zip(
            closes(sessions, frame.zone, frame.close),
            [day.isoformat() for day in sessions],
            *(bars[name].tolist() for name in ("open", "high", "low", "close")),
            _known(bars["volume"] * frame.unit),
            _known(bars["amount"]),
            bars["flags"].tolist(),
            strict=True,
        )
    ]


def closes(sessions: list[date], zone: str, close: time) -> list[int]:
    """The instants at which sessions end, in microseconds since 1970 UTC; the zone's own rules of each day hold."""
    where = ZoneInfo(zone)
    return [to_micros(datetime.combine(day, close, tzinfo=where).astimezone(UTC)) for day in sessions]


def _known(values: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
