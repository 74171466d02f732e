"""What lies in ``market_bars``, per symbol: reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, func, select

from jobrunner.db.market import market_bars

_b = market_bars.c


@dataclass(frozen=True)
class StoredBars:
    """The bars of one symbol: how many, of which sessions, and the last close in currency."""

    symbol: str
    bars: int
    first: date
    last: date
    last_close: float


def stored_bars(conn: Connection, symbols: Sequence[str], *, source: str, freq: str = "daily") -> list[StoredBars]:
    """What is stored of these symbols, by symbol; one that has no bars is left out."""
    of = (_b.symbol.in_(symbols), _b.source == source, _b.freq == freq, _b.adjust == "none")
    counted = (
        select(_b.symbol, func.count().label("bars"), func.min(_b.session).label("first"), func.max(_b.ts).label("ts"))
        .where(*of)
        .group_by(_b.symbol)
        .subquery()
    )
    found = (
        select(counted.c.symbol, counted.c.bars, counted.c.first, _b.session, _b.close)
        .join(market_bars, (_b.symbol == counted.c.symbol) & (_b.ts == counted.c.ts))
        .where(*of)
        .order_by(counted.c.symbol)
    )
    return [StoredBars(*row) for row in conn.execute(found)]
