"""The arguments of an import, refused where they are wrong and named as the guide names them."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import jobrunner.data_import  # noqa: F401  registers the handler
from jobrunner.data_import.request import ImportRequest
from jobrunner.errors import InvalidInput
from jobrunner.handlers import get

CSV = {"data_source": "csv", "file": "a.csv", "symbol": "SPY"}


def accepted(**data: Any) -> ImportRequest:
    (found,) = get("data_import").arguments.validate(data).values()
    assert isinstance(found, ImportRequest)
    return found


def refused(**data: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        get("data_import").arguments.validate(data)
    return str(caught.value)


def test_the_guide_s_example() -> None:
    found = accepted(
        symbols=["000001.SZ", "000002.SZ"], data_source="tongdaxin", start_date="2024-01-01", end_date="2024-12-31"
    )
    assert found.symbols == ["000001.SZ", "000002.SZ"]
    assert (found.start_date, found.end_date) == (date(2024, 1, 1), date(2024, 12, 31))
    assert (found.source_name, found.freq) == ("tongdaxin", "daily")


def test_nothing_at_all_means_everything_daily_from_tongdaxin() -> None:
    found = accepted()
    assert found.symbols is None
    assert (found.source_name, found.freq, found.start_date, found.end_date) == ("tongdaxin", "daily", None, None)


@pytest.mark.parametrize("freq", ["daily", "1d", "1D", "d", "D", "day", "Daily"])
def test_daily_has_many_names(freq: str) -> None:
    assert accepted(freq=freq).freq == "daily"


@pytest.mark.parametrize("freq", ["5min", "1h", "weekly", "1m", "", None, 5])
def test_another_frequency_is_refused_by_name_and_never_means_daily(freq: Any) -> None:
    told = refused(freq=freq)
    assert "/task_data/freq" in told
    assert repr(freq) in told
    assert "supported is daily" in told


def test_source_is_another_spelling_of_data_source() -> None:
    assert accepted(source="TONGDAXIN").source_name == "tongdaxin"
    assert accepted(source="tongdaxin", data_source="tongdaxin").source_name == "tongdaxin"
    assert "give one of them" in refused(source="csv", data_source="tongdaxin", file="a.csv", symbol="X")
    assert "known are tongdaxin and csv" in refused(data_source="yahoo")


@pytest.mark.parametrize("symbols", [[], "000001.SZ", "*", [""], [7], ["x" * 41], ["a\nb"], ["000001.SZ"] * 10_001])
def test_symbols_that_are_none(symbols: Any) -> None:
    assert "/task_data/symbols" in refused(symbols=symbols)


def test_ten_thousand_symbols_are_fine() -> None:
    assert len(accepted(symbols=["000001.SZ"] * 10_000).symbols or []) == 10_000


@pytest.mark.parametrize("day", ["20240101", "2024-1-1", "2024-02-30", 1704067200, "2024-01-01T00:00:00", "today", ""])
def test_a_date_is_an_iso_date(day: Any) -> None:
    assert "/task_data/start_date" in refused(start_date=day)


def test_the_range_runs_forwards() -> None:
    assert accepted(start_date="2024-01-02", end_date="2024-01-02").start_date == date(2024, 1, 2)
    assert "lies after" in refused(start_date="2024-01-02", end_date="2024-01-01")


def test_an_unknown_key_is_refused() -> None:
    assert "/task_data/symbol_list" in refused(symbol_list=["000001.SZ"])


def test_csv_needs_a_file_and_one_symbol() -> None:
    found = accepted(**CSV, timezone="America/New_York", close="16:00", columns={"close": "Adj Close"})
    assert (found.csv_symbol, found.close, found.columns) == ("SPY", time(16, 0), {"close": "Adj Close"})
    assert accepted(data_source="csv", file="a.csv", symbols=["SPY"]).csv_symbol == "SPY"
    assert "needs file" in refused(data_source="csv", symbol="SPY")
    assert "needs symbol" in refused(data_source="csv", file="a.csv")
    assert "needs symbol" in refused(data_source="csv", file="a.csv", symbols=["A", "B"])


@pytest.mark.parametrize(
    ("key", "value"),
    [("timezone", "Mars/Olympus"), ("timezone", "../etc/passwd"), ("close", "25:00"), ("close", "16:00+02:00"),
     ("columns", {"price": "x"}), ("columns", {"close": ""}), ("date_order", "ymd"), ("encoding", "utf-7"),
     ("file", ""), ("file", "a\0b")],
)  # fmt: skip
def test_csv_options_are_checked(key: str, value: Any) -> None:
    assert f"/task_data/{key}" in refused(**{**CSV, key: value})


def test_csv_options_do_not_silently_go_unused() -> None:
    assert "file belong to source csv" in refused(file="a.csv")


def test_the_published_schema_takes_what_the_handler_takes() -> None:
    schema = Draft202012Validator(get("data_import").schema())
    for good in (
        {},
        {"symbols": ["000001.SZ"], "data_source": "tongdaxin", "start_date": "2024-01-01"},
        {"source": "csv", "file": "a.csv", "symbol": "X", "freq": "1D", "columns": {"close": "Last"}, "close": "16:00"},
    ):
        assert schema.is_valid(good)
        accepted(**good)
    wrong: list[dict[str, Any]] = [{"symbols": []}, {"unknown": 1}, {"columns": {"price": "x"}}]
    for bad in wrong:
        assert not schema.is_valid(bad)
        refused(**bad)
