"""The upsert of one symbol's bars into ``market_bars``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Date, Float, Integer, Text, bindparam, or_, select, true
from sqlalchemy.dialects.postgresql import insert  # renders the same ON CONFLICT on SQLite

from jobrunner.db.market import market_bars
from jobrunner.db.types import EPOCH, Name, UTCDateTime, db_now, rowset

_KEY = ("source", "symbol", "freq", "adjust", "ts")
_COMPARED = ("session", "open", "high", "low", "close", "volume", "amount", "flags")
_GIVEN = ("ts", *_COMPARED)

_rows = rowset(
    "bars",
    ts=UTCDateTime(),
    session=Date(),
    open=Float(53),
    high=Float(53),
    low=Float(53),
    close=Float(53),
    volume=Float(53),
    amount=Float(53),
    flags=Integer(),
)
_constants = {
    "source": bindparam("of_source", type_=Name),
    "symbol": bindparam("of_symbol", type_=Name),
    "freq": bindparam("of_freq", type_=Text()),
    "adjust": bindparam("of_adjust", type_=Text()),
    "load_id": bindparam("of_load", type_=Text()),
    "updated_at": db_now(),
}
_selected: list[Any] = [*_constants.values(), *(_rows.c[name] for name in _GIVEN)]
# ON CONFLICT after a SELECT needs a WHERE on SQLite, else its parser takes ON for a join's.
_insert = insert(market_bars).from_select([*_constants, *_GIVEN], select(*_selected).where(true()))
# Without the guard a re-run would write every row again: three times slower, and a dead row for each.
_upsert = _insert.on_conflict_do_update(
    index_elements=[market_bars.c[name] for name in _KEY],
    set_={
        **{name: _insert.excluded[name] for name in (*_COMPARED, "load_id", "updated_at")},
        "revision": market_bars.c.revision + 1,
    },
    where=or_(*(market_bars.c[name].is_distinct_from(_insert.excluded[name]) for name in _COMPARED)),
).returning(market_bars.c.revision)


def upsert_bars(
    conn: Connection, source: str, symbol: str, freq: str, load_id: str, bars: list[list[Any]]
) -> tuple[int, int]:
    """Store bars as traded (``adjust`` none); equal ones stay untouched. Returns how many were inserted and updated.

    ``bars`` are lists in the order of :data:`normalize.COLUMNS`, one per key.
    """
    rows = [dict(zip(_GIVEN, bar, strict=True)) for bar in bars]
    for row in rows:
        row["ts"] = EPOCH + timedelta(microseconds=row["ts"])
    of = {"of_source": source, "of_symbol": symbol, "of_freq": freq, "of_adjust": "none", "of_load": load_id}
    written = conn.execute(_upsert, {**of, "bars": rows})
    revisions = written.scalars().all()
    inserted = revisions.count(0)
    return inserted, len(revisions) - inserted
