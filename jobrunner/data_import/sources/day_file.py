"""One ``.day`` file: 32-byte records of daily bars, little-endian.

Loads numpy: import it only in the process that imports data.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobrunner.data_import.frame import BAR, FLAG_OVERFLOW, FLAG_SCALE, Frame, Mask, Reject
from jobrunner.data_import.kinds import Kind
from jobrunner.data_import.quality import told
from jobrunner.data_import.sources import scale

RECORD = np.dtype(
    [
        ("date", "<u4"),
        ("open", "<u4"),
        ("high", "<u4"),
        ("low", "<u4"),
        ("close", "<u4"),
        ("amount", "<f4"),
        ("volume", "<u4"),
        ("reserved", "<u4"),
    ]
)
MAX_BYTES = RECORD.itemsize * 50_000  # two centuries of sessions
ZONE = "Asia/Shanghai"
CLOSE = time(15, 0)
_YEARS = (1980, 2100)

Records = NDArray[np.void]


def measure(content: bytes, kind: Kind) -> int | None:
    """The divisor that a file shows by itself, or None; see :func:`scale.measured_divisor`."""
    records = _records(content)
    return _measured(kind, records, _sessions(records["date"])[1])


def read_day(content: bytes, symbol: str, kind: Kind, *, fallback: Callable[[], tuple[int, str | None]]) -> Frame:
    """The bars of a ``.day`` file. Prices in currency, volumes in the unit of ``kind``.

    ``fallback`` gives a divisor, and a warning where it is a guess, for a file that does not show its own. Records
    without a valid date, and the bytes of a record cut off at the end, are rejects. Raises :class:`BadFile` where
    prices and amounts contradict each other throughout.
    """
    records = _records(content)
    sessions, dated = _sessions(records["date"])
    warnings: list[str] = []

    divisor = _measured(kind, records, dated) if kind.traded and dated.any() else kind.divisor
    if divisor is None:
        divisor, warning = fallback()
        warnings += [warning] if warning else []
    elif divisor != kind.divisor and not scale.follows_bonds(kind):
        warnings.append(f"amount over volume shows prices in 1/{divisor}, where a {kind.name} has 1/{kind.divisor}")

    bars = np.zeros(len(records), dtype=BAR)
    bars["position"] = np.arange(1, len(records) + 1)
    bars["session"] = sessions
    for name in ("open", "high", "low", "close"):
        bars[name] = records[name] / float(divisor)
    bars["amount"] = records["amount"]
    volume = records["volume"].astype(np.float64)
    bars["volume"], overflow = scale.true_volume(kind, records["reserved"], bars["close"], volume, bars["amount"])
    bars["flags"][overflow] |= FLAG_OVERFLOW
    odd = dated & scale.misfit(kind, bars["low"], bars["high"], bars["volume"], bars["amount"])
    bars["flags"][odd] |= FLAG_SCALE
    if odd.any():
        warnings.append(
            f"{told(int(np.count_nonzero(odd)))} flagged: amount over volume lies far from the day's prices"
        )

    def raw(position: int) -> dict[str, Any]:
        if position > len(records):
            return {"bytes": _tail(content).hex()}
        record = records[position - 1]
        return {name: _json_number(record[name].item()) for name in RECORD.names or ()}

    frame = Frame(symbol, bars[dated], kind.unit, ZONE, CLOSE, raw, warnings=warnings)
    for index in np.flatnonzero(~dated):
        frame.rejects.append(Reject(int(index) + 1, f"{records['date'][index]} is no date"))
    if tail := _tail(content):
        reason = f"the file ends after {len(tail)} of the record's {RECORD.itemsize} bytes"
        frame.rejects.append(Reject(len(records) + 1, reason))
        frame.warnings.append(reason)
    return frame


def _records(content: bytes) -> Records:
    whole = len(content) // RECORD.itemsize
    return np.frombuffer(content, dtype=RECORD, count=whole)


def _measured(kind: Kind, records: Records, dated: Mask) -> int | None:
    if not kind.measured:
        return None
    sure = records[dated & ~scale.marked(records["reserved"])]
    close, volume, amount = (sure[name].astype(np.float64) for name in ("close", "volume", "amount"))
    return scale.measured_divisor(kind, close, volume, amount)


def _sessions(dates: NDArray[np.uint32]) -> tuple[NDArray[np.datetime64], Mask]:
    """Days of YYYYMMDD numbers, and which of them exist in the calendar."""
    year, month, day = (part.astype(np.int64) for part in (dates // 10_000, dates // 100 % 100, dates % 100))
    valid = (year >= _YEARS[0]) & (year <= _YEARS[1]) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    sessions = months.astype("datetime64[D]") + np.where(valid, day - 1, 0)
    return sessions, valid & (sessions.astype("datetime64[M]") == months)


def _tail(content: bytes) -> bytes:
    return content[len(content) // RECORD.itemsize * RECORD.itemsize :]


def _json_number(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)
