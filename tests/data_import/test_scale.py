"""Divisors, units and the volume overflow, each on generated files of a known truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobrunner.data_import import normalize
from jobrunner.data_import.errors import BadFile
from jobrunner.data_import.frame import FLAG_OVERFLOW
from jobrunner.data_import.sources.tongdaxin import Vipdoc
from tests.data_import.support import put, record, records

DAYS = (20240102, 20240103, 20240104)
BOND = (1_068_000, 1_070_000, 1_060_000, 1_065_000)
OLD_BOND = tuple(price // 10 for price in BOND)
RATE = (22_500, 25_000, 20_000, 24_000)
HUNDRED = 0xC3640000
TEN = 0xC30A0000


def rows(root: Path, symbol: str) -> list[list[object]]:
    return normalize.rows(Vipdoc(root).read(symbol))


def bond(divisor: int) -> bytes:
    prices = tuple(price * divisor // 10_000 for price in BOND)
    return records(DAYS, prices=prices, volume=5_000, divisor=divisor, unit=10)


@pytest.mark.parametrize("divisor", [1000, 10_000])
def test_bonds_show_the_scale_of_their_year_by_amount_over_volume(root: Path, divisor: int) -> None:
    put(root, "sh113044.day", bond(divisor))
    frame = Vipdoc(root).read("113044.SH")
    assert frame.bars["close"].tolist() == [106.5] * 3
    assert [row[6] for row in normalize.rows(frame)] == [50_000.0] * 3  # bonds, where the file counts lots of ten
    assert not frame.warnings


@pytest.mark.parametrize("divisor", [1000, 10_000])
def test_repos_follow_the_bonds_of_the_same_root(root: Path, divisor: int) -> None:
    put(root, "sh113044.day", bond(divisor))
    rate = tuple(price * divisor // 10_000 for price in RATE)
    put(root, "sh204001.day", records(DAYS, prices=rate, volume=5_000, amount=5_000 * 1000.0))
    frame = Vipdoc(root).read("204001.SH")
    assert frame.bars["close"].tolist() == [2.4] * 3
    assert not frame.warnings


def test_repos_without_bonds_are_a_guess_that_says_so(root: Path) -> None:
    put(root, "sz131810.day", records(DAYS, prices=RATE, volume=5_000, amount=5_000 * 1000.0))
    frame = Vipdoc(root).read("131810.SZ")
    assert frame.bars["close"].tolist() == [2.4] * 3
    assert frame.warnings == ["no bond shows the scale of this root: prices taken as 1/10000"]


def test_a_bond_that_never_traded_follows_the_others(root: Path) -> None:
    put(root, "sh113044.day", bond(1000))
    put(root, "sz127005.day", record(20240102, OLD_BOND, 0, 0.0))  # type: ignore[arg-type]
    assert Vipdoc(root).read("127005.SZ").bars["close"].tolist() == [106.5]


def test_a_damaged_bond_does_not_decide_the_scale_of_the_root(root: Path) -> None:
    put(root, "sh010107.day", b"not a record")
    put(root, "sh113044.day", bond(1000))
    put(root, "sh204001.day", records(DAYS, prices=(2250, 2500, 2000, 2400), volume=5_000, amount=5e6))
    assert Vipdoc(root).read("204001.SH").bars["close"].tolist() == [2.4] * 3


@pytest.mark.parametrize(("name", "divisor"), [("sh900902", 1000), ("sz200012", 100)])
def test_b_shares_have_a_scale_per_exchange(root: Path, name: str, divisor: int) -> None:
    prices = (560, 570, 550, 564)
    put(root, f"{name}.day", records(DAYS, prices=prices, divisor=divisor))
    frame = Vipdoc(root).read(f"{name[2:]}.{name[:2].upper()}")
    assert frame.bars["close"].tolist() == [564 / divisor] * 3
    assert not frame.warnings


def test_a_share_on_another_scale_is_read_by_its_amounts_and_told(root: Path) -> None:
    put(root, "sz000001.day", records(DAYS, prices=(10_000, 10_200, 9_900, 10_100), divisor=1000))
    frame = Vipdoc(root).read("000001.SZ")
    assert frame.bars["close"].tolist() == [10.1] * 3
    assert frame.warnings == ["amount over volume shows prices in 1/1000, where a stock has 1/100"]


def test_amounts_that_fit_no_scale_are_an_error_and_never_a_silent_factor(root: Path) -> None:
    put(root, "sz000001.day", records(DAYS, amount=10.1 * 100_000 * 37))
    with pytest.raises(BadFile, match="amount over volume"):
        Vipdoc(root).read("000001.SZ")


def test_a_share_that_never_traded_takes_the_scale_of_the_table_and_says_so(root: Path) -> None:
    put(root, "sz000001.day", record(20240102, volume=0, amount=0.0))
    frame = Vipdoc(root).read("000001.SZ")
    assert frame.bars["close"].tolist() == [10.1]
    assert frame.warnings == ["no trade in the file shows its scale: prices taken as 1/100"]


def test_an_index_counts_lots_of_a_hundred_and_needs_no_check(root: Path) -> None:
    put(root, "sh000001.day", records(DAYS, prices=(300_000, 301_000, 299_000, 300_500), volume=1234, amount=7e11))
    frame = Vipdoc(root).read("000001.SH")
    assert frame.bars["close"].tolist() == [3005.0] * 3
    assert [row[6] for row in normalize.rows(frame)] == [123_400.0] * 3
    assert not frame.bars["flags"].any()


@pytest.mark.parametrize(("marker", "factor"), [(HUNDRED, 100), (TEN, 10)])
def test_an_overflown_volume_is_put_together_again(root: Path, marker: int, factor: int) -> None:
    true = 5_000_000_046
    raw, rest = divmod(true, factor)
    prices = (1000, 1020, 990, 1010)
    over = record(20240104, prices, raw, amount=true * 1.01, reserved=marker | rest)
    put(root, "sh513330.day", records(DAYS[:2], prices=prices, divisor=1000) + over)
    found = rows(root, "513330.SH")
    assert [row[6] for row in found] == [100_000.0, 100_000.0, float(true)]
    assert [row[8] for row in found] == [0, 0, FLAG_OVERFLOW]


def test_a_marker_on_a_volume_that_is_full_already_changes_nothing(root: Path) -> None:
    full = record(20110228, BOND, 5_000, amount=106.5 * 50_000, reserved=TEN | 7)
    put(root, "sh113044.day", bond(10_000) + full)
    found = rows(root, "113044.SH")
    assert [row[6] for row in found] == [50_000.0] * 4
    assert not any(row[8] for row in found)


def test_a_repo_s_overflow_is_judged_by_its_par_value(root: Path) -> None:
    put(root, "sh113044.day", bond(10_000))
    true = 123_456_789_5
    over = record(20240103, RATE, true // 10, amount=true * 1000.0, reserved=TEN | 5)
    full = record(20240104, RATE, true, amount=true * 1000.0, reserved=TEN | 5)
    put(root, "sh204001.day", over + full)
    assert [row[6] for row in rows(root, "204001.SH")] == [true * 10.0] * 2


def test_an_unknown_factor_and_a_marker_without_amount_leave_the_volume_alone(root: Path) -> None:
    odd = record(20240103, reserved=0xC3250000)
    mute = record(20240104, amount=0.0, reserved=HUNDRED)
    put(root, "sz000001.day", record(20240102) + odd + mute)
    assert [row[6] for row in rows(root, "000001.SZ")] == [100_000.0] * 3


def test_the_reserved_word_of_an_index_is_no_marker(root: Path) -> None:
    put(root, "sh000001.day", record(20240102, reserved=HUNDRED | 50))
    assert rows(root, "000001.SH")[0][6] == 100_000 * 100.0
