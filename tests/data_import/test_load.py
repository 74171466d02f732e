"""Loads into a real database of each kind: what is written, and what a repeat, a crash or a restatement changes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from jobrunner.data_import.errors import NothingImported
from jobrunner.data_import.run import MAX_REJECTS
from jobrunner.db.market import import_loads, import_outcomes, import_rejects, market_bars
from tests.data_import.support import UNITS, Importer, bars, put, record, records, rows

DAYS = (20240102, 20240103, 20240104)


def test_bars_are_stored_as_they_are(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", record(20240102, (1001, 1020, 990, 1013), 123_400, 1_240_000.0))
    importer(task_id="first")
    (bar,) = bars(importer.database)
    assert (bar.source, bar.symbol, bar.freq, bar.adjust) == ("tongdaxin", "000001.SZ", "daily", "none")
    assert bar.ts == datetime(2024, 1, 2, 7, tzinfo=UTC)
    assert bar.session == date(2024, 1, 2)
    assert (bar.open, bar.high, bar.low, bar.close) == (10.01, 10.2, 9.9, 10.13)
    assert (bar.volume, bar.amount, bar.flags, bar.revision) == (123_400, 1_240_000, 0, 0)
    assert (bar.load_id, bar.open_interest, bar.settle) == ("first.0", None, None)
    assert bar.updated_at is not None


def test_the_result_has_the_guide_s_keys_and_the_counts(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    put(root, "sh600000.day", records(DAYS[:2]))
    result = importer(symbols=["sz000001", "600000", "000001.XSHE", "600519.SH"], start_date="2024-01-01")
    seconds = result.pop("seconds")
    assert 0 < seconds < 60
    assert result == {
        "task_type": "data_import",
        "symbols_count": 3,
        "imported_count": 2,
        "total_records": 5,
        "data_source": "tongdaxin",
        "status": "completed",
        "inserted": 5,
        "updated": 0,
        "unchanged": 0,
        "rejected": 0,
        "empty_count": 0,
        "failed_count": 1,
        "failures": [{"symbol": "600519.SH", "reason": "600519.SH has no file sh/lday/sh600519.day"}],
        "warnings_count": 0,
        "warnings": [],
        "first": "2024-01-02",
        "last": "2024-01-04",
        "load_id": "t.0",
    }
    assert json.loads(json.dumps(result)) == result


def test_load_and_outcomes_tell_the_same(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    put(root, "sz000002.day", records(DAYS))
    importer(symbols=["000001.SZ", "nonsense", "000002.SZ", "600519.SH"], start_date="2024-01-04", attempt=2)
    (load,) = rows(importer.database, import_loads)
    assert (load.load_id, load.task_id, load.source, load.freq, load.symbols) == ("t.0", "t", "tongdaxin", "daily", 4)
    assert load.started_at <= load.finished_at
    assert json.loads(load.request)["start_date"] == "2024-01-04"
    told = {each.symbol: each for each in rows(importer.database, import_outcomes)}
    assert {name: each.status for name, each in told.items()} == {
        "000001.SZ": "imported", "000002.SZ": "imported", "600519.SH": "failed", "nonsense": "failed",
    }  # fmt: skip
    good, bad = told["000001.SZ"], told["nonsense"]
    assert (good.rows_read, good.inserted, good.first_session, good.attempt) == (1, 1, date(2024, 1, 4), 2)
    assert (bad.error_class, bad.inserted, bad.first_session) == ("BadSymbol", 0, None)
    assert "is no symbol" in bad.error


def test_a_repeat_changes_no_row(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    importer(task_id="one")
    before = bars(importer.database)
    result = importer(task_id="two")
    assert (result["inserted"], result["updated"], result["unchanged"]) == (0, 0, 3)
    assert (result["imported_count"], result["total_records"]) == (1, 3)
    assert bars(importer.database) == before
    assert [each.status for each in rows(importer.database, import_outcomes)] == ["imported", "unchanged"]


def test_restated_and_new_bars_are_told_from_the_rest(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    importer(task_id="one")
    put(root, "sz000001.day", records(DAYS[:2]) + record(20240104, (1000, 1050, 990, 1030)) + record(20240105))
    result = importer(task_id="two")
    assert (result["inserted"], result["updated"], result["unchanged"]) == (1, 1, 2)
    assert [(bar.close, bar.revision, bar.load_id) for bar in bars(importer.database)] == [
        (10.1, 0, "one.0"), (10.1, 0, "one.0"), (10.3, 1, "two.0"), (10.1, 0, "two.0"),
    ]  # fmt: skip
    put(root, "sz000001.day", records((*DAYS, 20240105)))
    importer(task_id="three")
    assert [bar.revision for bar in bars(importer.database)] == [0, 0, 2, 0]


def test_a_value_that_becomes_known_or_unknown_is_a_change(importer: Importer, root: Path) -> None:
    head, line = "date,open,high,low,close", "2024-01-02,10,12,9,11"
    file = root.parent / "a.csv"
    request: dict[str, Any] = {"data_source": "csv", "file": "a.csv", "symbol": "X"}
    file.write_text(f"{head}\n{line}\n")
    assert importer(task_id="1", **request)["inserted"] == 1
    assert importer(task_id="2", **request)["unchanged"] == 1
    file.write_text(f"{head},volume\n{line},5\n")
    assert importer(task_id="3", **request)["updated"] == 1
    file.write_text(f"{head}\n{line}\n")
    assert importer(task_id="4", **request)["updated"] == 1
    assert bars(importer.database, "X")[0].volume is None


def test_sources_do_not_write_over_each_other(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", record(20240102))
    (root.parent / "a.csv").write_text("date,open,high,low,close,volume\n2024-01-02,1,1,1,1,1\n")
    importer(task_id="1")
    importer(task_id="2", data_source="csv", file="a.csv", symbol="000001.SZ")
    assert [(bar.source, bar.close) for bar in bars(importer.database)] == [("csv", 1.0), ("tongdaxin", 10.1)]


def test_rejects_are_kept_with_place_reason_and_record(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", record(20240102) + record(20241399) + records(DAYS[1:]) + b"\x01\x02")
    result = importer()
    assert (result["total_records"], result["rejected"], result["failed_count"]) == (3, 2, 0)
    assert result["warnings"] == ["000001.SZ: the file ends after 2 of the record's 32 bytes"]
    kept = rows(importer.database, import_rejects)
    assert [(each.symbol, each.position, each.reason) for each in kept] == [
        ("000001.SZ", 2, "20241399 is no date"),
        ("000001.SZ", 5, "the file ends after 2 of the record's 32 bytes"),
    ]
    assert json.loads(kept[0].row)["close"] == 1010
    assert json.loads(kept[1].row) == {"bytes": "0102"}


def test_hostile_text_in_a_file_can_be_stored(importer: Importer, root: Path) -> None:
    line = "2024-01-02,10,12,9,11\n"
    hostile = 'a\x00b\x1b[31m,\'; DROP TABLE x,"\\u0000",4,5\n'
    (root.parent / "a.csv").write_text(f"date,open,high,low,close\n{line}{hostile}")
    result = importer(data_source="csv", file="a.csv", symbol="X")
    assert (result["total_records"], result["rejected"]) == (1, 1)
    (kept,) = rows(importer.database, import_rejects)
    assert json.loads(kept.row)["open"] == "'; DROP TABLE x"


def test_a_file_without_any_bar_fails_and_its_rejects_are_capped(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", record(0) * (MAX_REJECTS + 5))
    put(root, "sz000002.day", records(DAYS))
    result = importer()
    assert result["failures"] == [
        {"symbol": "000001.SZ", "reason": f"none of its {MAX_REJECTS + 5} records is a bar; the first: 0 is no date"}
    ]
    assert result["rejected"] == MAX_REJECTS + 5
    assert len(rows(importer.database, import_rejects)) == MAX_REJECTS
    assert f"only the first {MAX_REJECTS} of {MAX_REJECTS + 5} rejects are kept" in result["warnings"][0]


def test_no_bars_in_the_range_is_empty_and_neither_success_nor_failure(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS) + b"tail")
    put(root, "sz000002.day", b"")
    result = importer(start_date="2025-01-01")
    assert (result["symbols_count"], result["imported_count"]) == (2, 0)
    assert (result["empty_count"], result["failed_count"]) == (2, 0)
    assert (result["first"], result["last"]) == (None, None)


def test_failures_beyond_fifty_are_counted(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    result = importer(symbols=["000001.SZ", *(f"{number:06}.SH" for number in range(600_000, 600_060))])
    assert (result["failed_count"], len(result["failures"])) == (60, 50)
    assert len(rows(importer.database, import_outcomes)) == 61


def test_when_all_symbols_fail_the_task_fails_with_the_outcomes_written(importer: Importer, root: Path) -> None:
    with pytest.raises(NothingImported, match=r"all 2 symbols failed: bad: .*; 600519\.SH: "):
        importer(symbols=["600519.SH", "bad"])
    assert [each.status for each in rows(importer.database, import_outcomes)] == ["failed", "failed"]
    assert rows(importer.database, import_loads)[0].finished_at is not None


def test_a_root_without_symbols_fails(importer: Importer) -> None:
    with pytest.raises(NothingImported, match="no symbol at all"):
        importer()


def test_progress_and_log_lines_are_per_symbol(importer: Importer, root: Path) -> None:
    put(root, "sz000001.day", records(DAYS))
    put(root, "sz000002.day", b"damaged")
    importer()
    assert importer.channel.fractions == [0.0, 0.5, 1.0]
    (line, *_) = importer.channel.lines
    assert (line.level, line.fields) == ("warning", {"symbol": "000002.SZ"})
    assert line.message.startswith("000002.SZ failed: none of its 1 records is a bar")


def test_every_float_comes_back_as_it_went_in(importer: Importer, root: Path) -> None:
    prices = [(price, price + 7, price - 3, price + 1) for price in range(101, 4001, 3)]
    days = [int(f"{2000 + n // 300}{n // 25 % 12 + 1:02}{n % 25 + 1:02}") for n in range(len(prices))]
    put(root, "sz000001.day", b"".join(record(day, each, 3333) for day, each in zip(days, prices, strict=True)))
    importer()
    stored = [(bar.open, bar.high, bar.low, bar.close) for bar in bars(importer.database)]
    assert stored == [tuple(price / 100 for price in each) for each in prices]


@pytest.mark.ci
def test_real_files_of_all_kinds_in_one_root(
    importer: Importer, root: Path, test_data: Path, expected: dict[str, Any]
) -> None:
    standard = {name: facts for name, facts in expected.items() if facts["format"] == "tdx .day"}
    for name in standard:
        put(root, Path(name).name, (test_data / name).read_bytes())
    result = importer()
    assert (result["symbols_count"], result["imported_count"], result["failed_count"]) == (23, 23, 0)
    assert result["inserted"] == result["total_records"] == sum(facts["records"] for facts in standard.values())
    sums = select(market_bars.c.symbol, func.count(), func.sum(market_bars.c.volume), func.sum(market_bars.c.amount))
    with importer.database.read() as conn:
        stored = {row[0]: row[1:] for row in conn.execute(sums.group_by(market_bars.c.symbol))}
    for name, facts in standard.items():
        stem = Path(name).stem
        count, volume, amount = stored[f"{stem[2:]}.{stem[:2].upper()}"]
        assert count == facts["records"], name
        assert volume == facts["sum_volume"] * UNITS[facts["volume_unit"]], name
        assert amount == pytest.approx(facts["sum_amount"], rel=1e-9), name
    assert importer(task_id="again")["unchanged"] == result["total_records"]
