"""Which column of a CSV file holds what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobrunner.data_import.errors import BadFile

FIELDS = ("date", "open", "high", "low", "close", "volume", "amount")
REQUIRED = FIELDS[:5]

_USUAL = {
    "date": ("date", "datetime", "time", "timestamp", "trade_date", "day", "session", "日期", "交易日期"),
    "open": ("open", "open_price", "开盘", "开盘价"),
    "high": ("high", "high_price", "最高", "最高价"),
    "low": ("low", "low_price", "最低", "最低价"),
    "close": ("close", "close_price", "收盘", "收盘价"),
    "volume": ("volume", "vol", "成交量"),
    "amount": ("amount", "turnover", "成交额"),
}


def match_columns(names: Sequence[str], given: Mapping[str, str], file: str) -> dict[str, str]:
    """The column of each of ``FIELDS``: the one ``given``, else the one with a usual name, in any case.

    A name like ``AAPL.Open`` counts by what follows its last dot. Volume and amount may be missing. Raises
    :class:`BadFile` naming the columns that are missing or met twice.
    """
    stripped = [name.strip() for name in names]
    chosen: dict[str, str] = {}
    for field, wanted in given.items():
        if wanted not in stripped:
            raise BadFile(f"{file} has no column {wanted!r} for {field}; it has {', '.join(stripped)}")
        chosen[field] = names[stripped.index(wanted)]
    for field in FIELDS:
        if field in chosen:
            continue
        exact = [n for n, s in zip(names, stripped, strict=True) if s.lower() in _USUAL[field]]
        found = exact or [
            n for n, s in zip(names, stripped, strict=True) if s.lower().rpartition(".")[2] in _USUAL[field]
        ]
        if len(found) > 1:
            raise BadFile(f"{file} has several columns for {field} ({', '.join(found)}): say which one in columns")
        if found:
            chosen[field] = found[0]
    missing = [field for field in REQUIRED if field not in chosen]
    if missing:
        raise BadFile(
            f"{file} has no column for {', '.join(missing)}; it has {', '.join(stripped)}. "
            "Name the column of each in columns; one column may serve for several"
        )
    return chosen
