"""The real files against facts that an independent script computed; see SOURCES.md beside them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from jobrunner.data_import import normalize
from jobrunner.data_import.errors import BadFile
from jobrunner.data_import.frame import FLAG_OVERFLOW
from jobrunner.data_import.sources.csv import CsvFile
from jobrunner.data_import.sources.tongdaxin import Vipdoc
from tests.data_import.support import UNITS

STANDARD = 23
CSV_OPTIONS: dict[str, dict[str, Any]] = {
    "hikyuu_test_day_data.csv": {"columns": {"volume": "count"}},
    "vix-monthly.csv": {"columns": dict.fromkeys(("open", "high", "low"), "Close")},
}


def day_files(expected: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: facts for name, facts in expected.items() if facts["format"] == "tdx .day"}


def test_all_standard_files_equal_the_facts(test_data: Path, expected: dict[str, Any]) -> None:
    files = day_files(expected)
    assert len(files) == STANDARD
    for name, facts in files.items():
        source = Vipdoc(test_data / name.split("/")[0])
        frame = source.read(source.resolve(Path(name).stem))
        rows = normalize.rows(frame)
        assert not frame.rejects, name
        assert len(rows) == facts["records"], name
        assert (rows[0][1], rows[-1][1]) == (facts["first"], facts["last"]), name
        assert (rows[0][5], rows[-1][5]) == (facts["first_close"], facts["last_close"]), name
        assert sum(row[6] for row in rows) == facts["sum_volume"] * UNITS[facts["volume_unit"]], name
        assert sum(row[7] for row in rows) == pytest.approx(facts["sum_amount"], rel=1e-9), name
        assert sum(row[6] == 0 for row in rows) == facts["zero_volume_records"], name
        assert sum(row[8] == FLAG_OVERFLOW for row in rows) == facts["overflow_records"], name
        assert sum(row[8] not in (0, FLAG_OVERFLOW) for row in rows) == facts["bad_ohlc_records"], name
        assert frame.warnings == [], name


def test_all_daily_csv_files_equal_the_facts(test_data: Path, expected: dict[str, Any]) -> None:
    files = {name: facts for name, facts in expected.items() if facts["format"] in ("csv", "csv.gz")}
    assert len(files) == 10
    for name, facts in files.items():
        file = Path(name).name
        frame = CsvFile(test_data / "text", file, "X", **CSV_OPTIONS.get(file, {})).read("X")
        rows = normalize.rows(frame)
        assert not frame.rejects, name
        assert len(rows) == facts["records"], name
        assert [row[1] for row in (rows[0], rows[-1])] == [_day(facts["first"]), _day(facts["last"])], name
        assert (rows[0][5], rows[-1][5]) == (facts["first_close"], facts["last_close"]), name
        if facts["sum_volume"] is not None:
            assert sum(row[6] for row in rows) == facts["sum_volume"], name


def test_a_hundredfold_error_is_told_where_it_is_and_nowhere_else(test_data: Path) -> None:
    def warnings(file: str) -> list[str]:
        return [each for each in CsvFile(test_data / "text", file, "X").read("X").warnings if "20-fold" in each]

    assert len(warnings("SSW-JO-1d-100x-error.csv")) == 1
    assert not warnings("SSW-JO-1d-100x-error-fixed.csv")


def test_a_close_only_file_is_refused_without_a_mapping(test_data: Path) -> None:
    with pytest.raises(BadFile, match="no column for open, high, low"):
        CsvFile(test_data / "text", "vix-monthly.csv", "X").read("X")


def _day(text: str) -> str:
    day = text.split(" ")[0].replace("/", "-").split("-")
    year_first = day if len(day[0]) == 4 else [day[2], day[0], day[1]]
    return date(*(int(part) for part in year_first)).isoformat()
