"""What a ``.day`` file's integers mean: the price's divisor and the true volume, both told by the traded amount.

Loads numpy: import it only in the process that imports data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jobrunner.data_import.errors import BadFile
from jobrunner.data_import.frame import Mask
from jobrunner.data_import.kinds import BOND, PAR, REPO, Kind

DIVISORS = (100, 1000, 10_000)
_TOLERANCE = np.log10(2.0)  # the candidates lie a factor of 10 apart; a day's mean price is never twice its close
_MARKER = 0xC3
_FACTORS = (10, 100)  # what the markers of 17.9 million real records multiply with

Floats = NDArray[np.float64]


def measured_divisor(kind: Kind, close: Floats, volume: Floats, amount: Floats) -> int | None:
    """The divisor that makes prices agree with amount over volume, or None when no record shows a trade.

    ``close`` holds the file's integers, ``volume`` its own units. Raises :class:`BadFile` when no known divisor comes
    near: then unit or file are not what they seem.
    """
    seen = (close > 0) & (volume > 0) & (amount > 0) & np.isfinite(amount)
    if not seen.any():
        return None
    ratio = float(np.median(close[seen] * volume[seen] * kind.unit / amount[seen]))
    best = min(DIVISORS, key=lambda divisor: abs(np.log10(ratio / divisor)))
    if abs(np.log10(ratio / best)) > _TOLERANCE:
        raise BadFile(f"amount over volume calls for prices in 1/{ratio:.3g}, which no {kind.name} has")
    return best


def marked(reserved: NDArray[np.uint32]) -> Mask:
    """The records whose reserved word is an overflow marker, 0xC3MMRRRR."""
    found: Mask = (reserved >> 24 == _MARKER) & np.isin((reserved >> 16) & 0xFF, _FACTORS)
    return found


def true_volume(
    kind: Kind, reserved: NDArray[np.uint32], price: Floats, volume: Floats, amount: Floats
) -> tuple[Floats, Mask]:
    """The volumes with overflows undone, and the mask of those.

    A marker says ``volume * MM + RRRR``; but files exist whose marked records hold the full volume already, so the
    product is taken only where it fits the amount better. ``price`` is in currency.
    """
    overflow = marked(reserved) & (volume > 0) & (amount > 0) & (price > 0)
    if kind.measured or kind is REPO:
        at = np.flatnonzero(overflow)
        worth = amount[at] / (kind.unit * (PAR if kind is REPO else price[at]))
        product = volume[at] * ((reserved[at] >> 16) & 0xFF) + (reserved[at] & 0xFFFF)
        better = np.abs(np.log(product / worth)) < np.abs(np.log(volume[at] / worth))
        overflow[at] = better
        volume = volume.copy()
        volume[at[better]] = product[better]
        return volume, overflow
    return volume, np.zeros(len(volume), dtype=np.bool_)  # an index keeps its advancers and decliners there


def misfit(kind: Kind, low: Floats, high: Floats, volume: Floats, amount: Floats) -> Mask:
    """The records whose amount over volume lies at less than half of low or at more than twice high."""
    if not kind.traded:
        return np.zeros(len(volume), dtype=np.bool_)
    seen = (volume > 0) & (amount > 0)
    mean = np.divide(amount, volume * kind.unit, out=np.zeros(len(volume)), where=seen)
    bottom, top = (PAR, PAR) if kind is REPO else (low, high)
    return seen & ((mean < bottom / 2) | (mean > top * 2))


def follows_bonds(kind: Kind) -> bool:
    """Whether a kind takes the divisor of its root's bonds where its own file does not tell one."""
    return kind in (BOND, REPO)
