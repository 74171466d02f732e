"""Damaged ``.day`` files: what is not a bar becomes a reject with place and reason, and all else stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobrunner.data_import import normalize
from jobrunner.data_import.errors import BadFile
from jobrunner.data_import.frame import FLAG_PRICE_ORDER, FLAG_SCALE, Frame
from jobrunner.data_import.sources.day_file import MAX_BYTES
from jobrunner.data_import.sources.tongdaxin import Vipdoc
from tests.data_import.support import put, record, records

DAYS = (20240102, 20240103, 20240104)


def read(root: Path, content: bytes, name: str = "sz000001.day") -> Frame:
    put(root, name, content)
    return Vipdoc(root).read(f"{name[2:8]}.{name[:2].upper()}")


def sessions(frame: Frame) -> list[str]:
    return [str(day) for day in frame.bars["session"]]


def told(frame: Frame) -> list[tuple[int, str]]:
    return [(each.position, each.reason) for each in frame.rejects]


def test_prices_amounts_and_volumes_are_those_of_the_file(root: Path) -> None:
    frame = read(root, record(20240102, (1001, 1020, 990, 1013), 123_400, 1_240_000.0))
    (row,) = normalize.rows(frame)
    assert row[1:] == ["2024-01-02", 10.01, 10.2, 9.9, 10.13, 123_400.0, 1_240_000.0, 0]
    assert not frame.rejects
    assert not frame.warnings


def test_a_daily_bar_ends_with_its_session(root: Path) -> None:
    (row,) = normalize.rows(read(root, record(20240102)))
    assert row[0] == 1_704_178_800_000_000  # 2024-01-02T07:00:00Z, 15:00 in Shanghai


def test_a_file_cut_off_in_a_record_tells_of_it_and_keeps_the_rest(root: Path) -> None:
    frame = read(root, records(DAYS)[:-15])
    assert sessions(frame) == ["2024-01-02", "2024-01-03"]
    assert told(frame) == [(3, "the file ends after 17 of the record's 32 bytes")]
    assert len(frame.raw(3)["bytes"]) == 34
    assert frame.warnings == ["the file ends after 17 of the record's 32 bytes"]


@pytest.mark.parametrize("day", [0, 20240230, 20241301, 20240100, 99999999, 4294967295, 19000101])
def test_a_garbage_date_is_a_reject(root: Path, day: int) -> None:
    frame = read(root, record(20240102) + record(day) + record(20240103))
    assert sessions(frame) == ["2024-01-02", "2024-01-03"]
    assert told(frame) == [(2, f"{day} is no date")]
    assert frame.raw(2)["date"] == day


def test_a_date_in_the_future_is_a_reject(root: Path) -> None:
    frame = read(root, record(20240102) + record(20991231))
    assert sessions(frame) == ["2024-01-02"]
    assert told(frame) == [(2, "its date lies in the future")]


def test_a_leap_day_is_a_date(root: Path) -> None:
    assert sessions(read(root, record(20240229))) == ["2024-02-29"]


def test_unsorted_records_are_sorted_and_told(root: Path) -> None:
    frame = read(root, records([20240104, 20240102, 20240103]))
    assert sessions(frame) == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert frame.bars["position"].tolist() == [2, 3, 1]
    assert frame.warnings == ["the records were not in order of their dates; they were sorted"]


def test_of_two_records_of_a_day_the_later_one_stays_and_the_other_is_a_reject(root: Path) -> None:
    frame = read(root, record(20240102) + record(20240103) + record(20240102, (1000, 1030, 990, 1020)))
    assert sessions(frame) == ["2024-01-02", "2024-01-03"]
    assert frame.bars["close"].tolist() == [10.20, 10.10]
    assert told(frame) == [(1, "record 3 has the same date")]


def test_broken_price_order_of_a_traded_security_is_a_reject(root: Path) -> None:
    broken = record(20240103, (1000, 900, 990, 1010))
    frame = read(root, record(20240102) + broken + record(20240104))
    assert sessions(frame) == ["2024-01-02", "2024-01-04"]
    assert told(frame) == [(2, "high and low do not enclose open and close")]
    assert frame.raw(2)["high"] == 900


def test_broken_price_order_of_an_index_is_flagged_and_kept(root: Path) -> None:
    frame = read(root, record(20240102) + record(20240103, (1000, 900, 990, 1010)), "sh000001.day")
    assert frame.bars["flags"].tolist() == [0, FLAG_PRICE_ORDER]
    assert frame.bars["high"].tolist() == [10.2, 9.0]
    assert not frame.rejects
    assert frame.warnings == ["1 bar flagged: high and low do not enclose open and close"]


def test_a_counter_may_be_zero(root: Path) -> None:
    frame = read(root, record(20240102, (0, 0, 0, 0), 5, 1.0), "sh880005.day")
    assert sessions(frame) == ["2024-01-02"]
    assert not frame.rejects


def test_a_zero_price_on_a_day_with_trade_is_a_reject(root: Path) -> None:
    frame = read(root, record(20240102) + record(20240103, (0, 1020, 0, 1010)))
    assert told(frame) == [(2, "a price is zero or negative")]


def test_suspended_days_stay(root: Path) -> None:
    idle = record(20240103, (1010, 1010, 1010, 1010), 0, 0.0)
    bare = record(20240104, (0, 0, 0, 1010), 0, 0.0)
    frame = read(root, record(20240102) + idle + bare)
    assert frame.bars["volume"].tolist() == [100_000, 0, 0]
    assert frame.bars["open"].tolist() == [10.0, 10.1, 0.0]
    assert frame.bars["flags"].tolist() == [0, 0, FLAG_PRICE_ORDER]
    assert not frame.rejects


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -5.0])
def test_an_amount_that_is_none(root: Path, amount: float) -> None:
    frame = read(root, record(20240102) + record(20240103, amount=amount))
    if amount != amount:
        assert normalize.rows(frame)[1][7] is None
    else:
        assert told(frame) == [(2, "amount is negative or infinite")]


def test_a_bar_whose_amount_contradicts_its_prices_is_flagged(root: Path) -> None:
    frame = read(root, records(DAYS) + record(20240105, amount=101_000_000.0))
    assert frame.bars["flags"].tolist() == [0, 0, 0, FLAG_SCALE]
    assert frame.warnings == ["1 bar flagged: amount over volume lies far from the day's prices"]


def test_only_what_was_asked_for_is_read(root: Path) -> None:
    from datetime import date

    put(root, "sz000001.day", records(DAYS))
    frame = Vipdoc(root).read("000001.SZ", date(2024, 1, 3), date(2024, 1, 3))
    assert sessions(frame) == ["2024-01-03"]
    assert frame.rows_read == 1
    assert frame.outside == 2


def test_an_empty_file_has_no_bars(root: Path) -> None:
    frame = read(root, b"")
    assert len(frame.bars) == 0
    assert frame.rows_read == 0


def test_noise_is_rejected_record_by_record(root: Path) -> None:
    frame = read(root, bytes(range(256)) * 4)
    assert len(frame.bars) == 0
    assert len(frame.rejects) == 32


def test_a_file_beyond_reason_is_refused(root: Path) -> None:
    put(root, "sz000001.day", b"\0" * (MAX_BYTES + 1))
    with pytest.raises(BadFile, match=r"at most 1,600,000 are read"):
        Vipdoc(root).read("000001.SZ")
