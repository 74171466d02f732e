"""The arguments of a ``data_import`` task, checked when it is submitted and again before it runs."""

from __future__ import annotations

import re
from datetime import date
from datetime import time as clock
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

MAX_SYMBOLS = 10_000
SOURCES = ("tongdaxin", "csv")
FREQUENCIES = {"daily": "daily", "day": "daily", "d": "daily", "1d": "daily", "1day": "daily"}

CSV_OPTIONS = ("file", "symbol", "columns", "timezone", "close", "date_order", "encoding")


def _source(value: Any) -> str:
    name = str(value).strip().lower()
    if name not in SOURCES:
        raise ValueError(f"unknown source {value!r}; known are {' and '.join(SOURCES)}")
    return name


def _frequency(value: Any) -> str:
    name = FREQUENCIES.get(str(value).strip().lower())
    if name is None:
        raise ValueError(f"frequency {value!r} is not supported; supported is daily (also 1d, d, day)")
    return name


def _iso_date(value: Any) -> date | None:
    # pydantic alone would take 20240101 for seconds since 1970.
    if value is None or type(value) is date:
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError(f"{value!r} is no date; write it like 2024-12-31")
    return date.fromisoformat(value)


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(str(value)).key
    except (LookupError, OSError, ValueError) as error:
        raise ValueError(f"unknown time zone {value!r}; write it like Asia/Shanghai") from error


def _local(value: clock | None) -> clock | None:
    if value is not None and value.tzinfo is not None:
        raise ValueError("give the close in the exchange's local time, and its zone as timezone")
    return value


Day = Annotated[date | None, BeforeValidator(_iso_date), WithJsonSchema({"type": ["string", "null"], "format": "date"})]
_PLAIN = r"^[^\x00-\x1f\x7f]+$"
SymbolText = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=_PLAIN)]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_PLAIN)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN)]
SourceName = Annotated[str, BeforeValidator(_source)]
FieldName = Literal["date", "open", "high", "low", "close", "volume", "amount"]


class ImportRequest(BaseModel):
    """What to import. Without ``symbols``: everything that the source has. Without dates: all of its history."""

    model_config = ConfigDict(extra="forbid")

    symbols: Annotated[list[SymbolText], Field(min_length=1, max_length=MAX_SYMBOLS)] | None = Field(
        None, description="Like 000001.SZ, sz000001 or 000001.XSHE; absent means all symbols of the source"
    )
    data_source: SourceName | None = Field(None, description="tongdaxin (default) or csv")
    source: SourceName | None = Field(None, description="another spelling of data_source")
    start_date: Day = Field(None, description="first day, included")
    end_date: Day = Field(None, description="last day, included")
    freq: Annotated[str, BeforeValidator(_frequency)] = Field("daily", description="daily (also 1d, d, day)")

    file: PathText | None = Field(None, description="csv: the file, by a path below the operator's folder")
    symbol: SymbolText | None = Field(None, description="csv: the symbol that the file's bars get")
    columns: dict[FieldName, ColumnName] | None = Field(None, description="csv: column names that are not usual ones")
    timezone: Annotated[str, BeforeValidator(_zone)] | None = Field(None, description="csv: the exchange's time zone")
    close: Annotated[clock | None, AfterValidator(_local)] = Field(
        None, description="csv: when the exchange's session ends, in its own time, like 16:00"
    )
    date_order: Literal["mdy", "dmy"] | None = Field(None, description="csv: for dates like 11/1/2019")
    encoding: Literal["utf-8", "gb18030"] | None = Field(None, description="csv: default utf-8")

    @model_validator(mode="after")
    def _fits(self) -> ImportRequest:
        if self.data_source and self.source and self.data_source != self.source:
            raise ValueError(f"data_source is {self.data_source}, but source is {self.source}: give one of them")
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise ValueError(f"start_date {self.start_date} lies after end_date {self.end_date}")
        if self.source_name == "csv":
            self._fits_csv()
        else:
            given = [name for name in CSV_OPTIONS if getattr(self, name) is not None]
            if given:
                raise ValueError(f"{', '.join(given)} belong to source csv, not to {self.source_name}")
        return self

    def _fits_csv(self) -> None:
        if self.file is None:
            raise ValueError("source csv needs file: a path below the operator's folder")
        if len({*(self.symbols or []), *([self.symbol] if self.symbol else [])}) != 1:
            raise ValueError("source csv needs symbol: the one symbol that the file's bars get")

    @property
    def source_name(self) -> str:
        """The source asked for."""
        return self.data_source or self.source or "tongdaxin"

    @property
    def csv_symbol(self) -> str:
        """The symbol of a csv file."""
        return self.symbol or (self.symbols or [""])[0]
