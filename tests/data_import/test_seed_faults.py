"""Faults of the system that the guide describes, each shown to be absent here."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from jobrunner.data_import.errors import NothingImported
from jobrunner.db.market import market_bars
from tests.data_import.support import Importer, put, record, records

DAYS = (20240102, 20240103, 20240104)


def stored(importer: Importer) -> int:
    with importer.database.read() as conn:
        return conn.execute(select(func.count()).select_from(market_bars)).scalar_one()


def test_the_count_of_bars_is_that_of_the_rows_in_the_database(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    put(root, "sz000002.day", records(DAYS[:1]))
    assert importer()["total_records"] == stored(importer) == 4


def test_a_symbol_that_fails_is_told_and_not_dropped(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    put(root, "sz000002.day", b"not a record at all")
    result = importer(symbols=["000001.SZ", "000002.SZ"])
    assert (result["symbols_count"], result["imported_count"], result["failed_count"]) == (2, 1, 1)
    assert result["failures"][0]["symbol"] == "000002.SZ"


def test_a_load_in_which_all_fail_is_no_success(importer: Importer) -> None:
    with pytest.raises(NothingImported):
        importer(symbols=["000001.SZ"])


def test_bars_are_written_where_they_belong_and_not_sent_back(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    assert "10.1" not in json.dumps(importer())
    assert stored(importer) == 3


def test_without_dates_all_of_the_history_comes(importer: Importer, root: Path) -> None:
    days = [int((date(2000, 1, 1) + timedelta(days=n)).strftime("%Y%m%d")) for n in range(3_000)]
    put(root, "sz000001.day", records(days))
    assert importer()["total_records"] == stored(importer) == 3_000


def test_suspended_days_are_bars(importer: Importer, root: Path) -> None:
    put(root, "sz159915.day", records(DAYS[:2], divisor=1000) + record(20240104, volume=0, amount=0.0))
    assert importer()["total_records"] == stored(importer) == 3


def test_prices_above_ten_thousand_stay(importer: Importer, root: Path) -> None:
    put(root, "sz399001.day", records(DAYS, prices=(1_500_000, 1_600_000, 1_400_000, 1_550_050)))
    importer()
    with importer.database.read() as conn:
        assert set(conn.execute(select(market_bars.c.close)).scalars()) == {15_500.5}


@pytest.mark.parametrize("code", ["510050", "900902"])
def test_codes_with_5_and_9_are_looked_up_where_they_lie(importer: Importer, root: Path, code: str) -> None:
    put(root, f"sh{code}.day", records(DAYS, divisor=1000))
    assert importer(symbols=[code])["imported_count"] == 1
    with importer.database.read() as conn:
        assert set(conn.execute(select(market_bars.c.symbol)).scalars()) == {f"{code}.SH"}


@pytest.mark.parametrize("symbol", ["430090.BJ", "bj430090", "430090", "0.430090"])
def test_beijing_is_an_exchange(importer: Importer, root: Path, symbol: str) -> None:
    put(root, "bj430090.day", records(DAYS))
    assert importer(symbols=[symbol])["total_records"] == 3


def test_the_third_and_fourth_decimal_of_funds_and_bonds_stays(importer: Importer, root: Path) -> None:
    put(root, "sh510050.day", records(DAYS[:1], prices=(2345, 2346, 2344, 2345), divisor=1000))
    bond = (1_000_001, 1_000_009, 1_000_001, 1_000_007)
    put(root, "sh113044.day", records(DAYS[:1], prices=bond, divisor=10_000, unit=10))
    importer()
    with importer.database.read() as conn:
        assert set(conn.execute(select(market_bars.c.close)).scalars()) == {2.345, 100.0007}
