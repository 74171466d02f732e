"""The tables of imports: bars, and what each load came to."""

from __future__ import annotations

from sqlalchemy import Column, Date, Float, ForeignKey, Identity, Index, Integer, SmallInteger, Table, Text

from jobrunner.db.tables import METADATA
from jobrunner.db.types import Id, JsonText, Name, UTCDateTime

__all__ = ["METADATA", "import_loads", "import_outcomes", "import_rejects", "market_bars"]

market_bars = Table(
    "market_bars",
    METADATA,
    Column("source", Name, primary_key=True),
    Column("symbol", Name, primary_key=True),
    Column("freq", Text, primary_key=True),
    Column("adjust", Text, primary_key=True),  # 'none': prices as traded
    Column("ts", UTCDateTime, primary_key=True),  # the bar's end; of a daily bar the session's close
    Column("session", Date, nullable=False),  # the trading day, exchange-local; never derived from UTC
    Column("open", Float(53), nullable=False),
    Column("high", Float(53), nullable=False),
    Column("low", Float(53), nullable=False),
    Column("close", Float(53), nullable=False),
    Column("volume", Float(53)),  # base units: shares, bonds, contracts
    Column("amount", Float(53)),  # currency
    Column("open_interest", Float(53)),
    Column("settle", Float(53)),
    Column("flags", Integer, nullable=False, server_default="0"),
    Column("load_id", Text, nullable=False),  # the load that wrote this version
    Column("revision", SmallInteger, nullable=False, server_default="0"),  # 0: as first stored; +1 at each change
    Column("updated_at", UTCDateTime, nullable=False),
    Index("ix_market_bars_symbol", "symbol", "freq", "ts"),
)

import_loads = Table(
    "import_loads",
    METADATA,
    Column("load_id", Text, primary_key=True),
    Column("task_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("freq", Text, nullable=False),
    Column("request", JsonText, nullable=False),
    Column("symbols", Integer, nullable=False),
    Column("started_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Index("ix_import_loads_task", "task_id"),
)

import_outcomes = Table(
    "import_outcomes",
    METADATA,
    Column("load_id", Text, ForeignKey("import_loads.load_id", ondelete="CASCADE"), primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("status", Text, nullable=False),  # imported, unchanged, empty, failed
    Column("rows_read", Integer, nullable=False),
    Column("inserted", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("first_session", Date),
    Column("last_session", Date),
    Column("error_class", Text),
    Column("error", Text),
    Column("warnings", JsonText),
    Column("seconds", Float, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", UTCDateTime, nullable=False),
)

import_rejects = Table(
    "import_rejects",
    METADATA,
    Column("id", Id, Identity(), primary_key=True),
    Column("load_id", Text, ForeignKey("import_loads.load_id", ondelete="CASCADE"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("position", Integer, nullable=False),  # record or line number in the source, from 1
    Column("reason", Text, nullable=False),
    Column("row", JsonText, nullable=False),
    Index("ix_import_rejects_load", "load_id", "symbol"),
)
