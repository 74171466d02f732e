"""Checks that every source's bars pass: what is not a bar is rejected with its reason, nothing is dropped or invented.

Loads numpy: import it only in the process that imports data.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np

from jobrunner.data_import.frame import FLAG_NOT_POSITIVE, FLAG_PRICE_ORDER, Frame, reject

PRICES = ("open", "high", "low", "close")
LEAP = 20.0  # a close that changes by this factor from one bar to the next is a change of scale, not a move


def in_range(frame: Frame, start: date | None, end: date | None) -> None:
    """Keep the bars from ``start`` to ``end``, both included; the others were not asked for."""
    session = frame.bars["session"]
    wanted = np.ones(len(frame.bars), dtype=np.bool_)
    if start is not None:
        wanted &= session >= np.datetime64(start)
    if end is not None:
        wanted &= session <= np.datetime64(end)
    frame.outside = int(np.count_nonzero(~wanted))
    frame.bars = frame.bars[wanted]


def check(frame: Frame, *, strict: bool, leaps: bool = True) -> None:
    """Reject what cannot be a bar, put the rest in order of its days, and flag or tell what is odd.

    ``strict`` says that on days with trade prices are positive and enclosed by high and low: a ``.day`` record of a
    traded security that breaks this is damaged. Indices and counters break it by nature, adjusted prices and futures
    by arithmetic and foreign files by rounding, so there it is flagged. ``leaps`` says that a sudden change of scale
    is worth telling: rates and counters leap by nature.
    """
    _reject_future(frame)
    _reject_unpriced(frame, strict=strict)
    _mark_order(frame, strict=strict)
    _sort(frame)
    _reject_duplicates(frame)
    if leaps:
        _tell_leaps(frame)


def told(count: int) -> str:
    """A number of bars in words."""
    return "1 bar" if count == 1 else f"{count} bars"


def _reject_future(frame: Frame) -> None:
    tomorrow = np.datetime64((datetime.now(UTC) + timedelta(days=1)).date())
    reject(frame, frame.bars["session"] > tomorrow, "its date lies in the future")


def _reject_unpriced(frame: Frame, *, strict: bool) -> None:
    for name in PRICES:
        reject(frame, ~np.isfinite(frame.bars[name]), f"{name} is no number")
    for name in ("volume", "amount"):
        bars = frame.bars
        reject(frame, np.isinf(bars[name]) | (bars[name] < 0), f"{name} is negative or infinite")
    bars = frame.bars
    idle = bars["volume"] == 0  # a suspended day may carry its last close alone
    bad = bars["close"] <= 0
    for name in ("open", "high", "low"):
        bad |= (bars[name] < 0) | ((bars[name] == 0) & ~idle)
    if strict:
        reject(frame, bad, "a price is zero or negative")
        return
    bars["flags"][bad] |= FLAG_NOT_POSITIVE
    if bad.any():
        frame.warnings.append(f"{told(int(np.count_nonzero(bad)))} flagged: a price is zero or negative")


def _mark_order(frame: Frame, *, strict: bool) -> None:
    bars = frame.bars
    body_top = np.maximum(bars["open"], bars["close"])
    body_bottom = np.minimum(bars["open"], bars["close"])
    bad = (bars["high"] < body_top) | (bars["low"] > body_bottom)
    if strict:
        traded = bars["volume"] > 0
        bars["flags"][bad & ~traded] |= FLAG_PRICE_ORDER
        reject(frame, bad & traded, "high and low do not enclose open and close")
    else:
        bars["flags"][bad] |= FLAG_PRICE_ORDER
    count = int(np.count_nonzero(frame.bars["flags"] & FLAG_PRICE_ORDER))
    if count:
        frame.warnings.append(f"{told(count)} flagged: high and low do not enclose open and close")


def _sort(frame: Frame) -> None:
    session = frame.bars["session"]
    steps = np.diff(session).astype(np.int64)
    if (steps < 0).any():
        # A file that runs newest first is a custom of its publisher, anything else a surprise.
        if (steps > 0).any():
            frame.warnings.append("the records were not in order of their dates; they were sorted")
        frame.bars = frame.bars[np.lexsort((frame.bars["position"], session))]


def _reject_duplicates(frame: Frame) -> None:
    session, position = frame.bars["session"], frame.bars["position"]
    again = np.zeros(len(session), dtype=np.bool_)
    again[:-1] = session[:-1] == session[1:]  # the last of a day stays: files grow at their end
    reject(frame, again, lambda index: f"record {position[index + 1]} has the same date")


def _tell_leaps(frame: Frame) -> None:
    close = frame.bars["close"]
    if len(close) < 2:
        return
    before, after = close[:-1], close[1:]
    positive = (before > 0) & (after > 0)
    leaps = np.flatnonzero(positive & ((after > before * LEAP) | (after * LEAP < before)))
    if len(leaps):
        day = frame.bars["session"][leaps[0] + 1]
        times = "once" if len(leaps) == 1 else f"{len(leaps)} times"
        frame.warnings.append(f"the close changes more than {LEAP:g}-fold {times}, first on {day}: check the scale")
