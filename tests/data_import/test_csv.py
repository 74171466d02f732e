from __future__ import annotations

import gzip
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from jobrunner.data_import import normalize
from jobrunner.data_import.errors import BadFile, SourceUnset
from jobrunner.data_import.frame import FLAG_NOT_POSITIVE, FLAG_PRICE_ORDER, Frame
from jobrunner.data_import.sources.csv import MAX_LINES, CsvFile

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume\n"
LINE = "2024-01-02,10,12,9,11,11,1000\n"


def read(folder: Path, text: str | bytes, name: str = "bars.csv", **options: Any) -> Frame:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return CsvFile(folder, name, "X", **options).read("X")


def days(frame: Frame) -> list[str]:
    return [str(day) for day in frame.bars["session"]]


def told(frame: Frame) -> list[tuple[int, str]]:
    return [(each.position, each.reason) for each in frame.rejects]


def test_a_file_with_usual_names_needs_no_mapping(tmp_path: Path) -> None:
    frame = read(tmp_path, HEADER + LINE)
    (row,) = normalize.rows(frame)
    assert row[1:] == ["2024-01-02", 10.0, 12.0, 9.0, 11.0, 1000.0, None, 0]
    assert not frame.rejects


@pytest.mark.parametrize(
    "header",
    ["DATE,OPEN,HIGH,LOW,CLOSE,VOL", "trade_date, open, high, low, close, volume", "日期,开盘,最高,最低,收盘,成交量",
     "Date,AAPL.Open,AAPL.High,AAPL.Low,AAPL.Close,AAPL.Volume", "\ufeffdate,open,high,low,close,volume"],
)  # fmt: skip
def test_usual_names_in_any_case_and_language(tmp_path: Path, header: str) -> None:
    frame = read(tmp_path, f"{header}\n2024-01-02,10,12,9,11,1000\n")
    assert normalize.rows(frame)[0][2:7] == [10.0, 12.0, 9.0, 11.0, 1000.0]


def test_columns_can_be_named(tmp_path: Path) -> None:
    frame = read(tmp_path, "d,o,h,l,c,n\n2024-01-02,10,12,9,11,1000\n",
                 columns={"date": "d", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "n"})  # fmt: skip
    assert normalize.rows(frame)[0][2:7] == [10.0, 12.0, 9.0, 11.0, 1000.0]


def test_a_close_only_file_is_refused_unless_its_column_is_named_for_all(tmp_path: Path) -> None:
    text = "Date,Close\n2024-01-31,25.36\n"
    with pytest.raises(BadFile, match=r"no column for open, high, low; it has Date, Close"):
        read(tmp_path, text)
    frame = read(tmp_path, text, columns=dict.fromkeys(("open", "high", "low"), "Close"))
    assert normalize.rows(frame)[0][2:7] == [25.36, 25.36, 25.36, 25.36, None]
    assert frame.warnings == ["the file has no volume"]


def test_a_column_that_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"no column 'Vol' for volume; it has Date, Open"):
        read(tmp_path, HEADER + LINE, columns={"volume": "Vol"})


def test_two_columns_for_one_field_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="several columns for volume"):
        read(tmp_path, "date,open,high,low,close,volume,vol\n2024-01-02,1,1,1,1,1,1\n")


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-01-02", "2024-01-02"),
        ("2024/1/2", "2024-01-02"),
        ("20240102", "2024-01-02"),
        ("2024-1-2 0:0:0", "2024-01-02"),
        ("2024-01-02T00:00:00", "2024-01-02"),
        ("2024-01-02 00:00:00+02:00", "2024-01-02"),
        ("2024-01-02 23:30:00-11:00", "2024-01-02"),
        ("1/13/2024", "2024-01-13"),
        ("13.1.2024", "2024-01-13"),
    ],
)
def test_dates_are_read_as_they_are_written_and_never_through_utc(tmp_path: Path, text: str, day: str) -> None:
    assert days(read(tmp_path, f"{HEADER}{text},10,12,9,11,11,1000\n")) == [day]


def test_an_ambiguous_date_order_is_asked_for(tmp_path: Path) -> None:
    text = HEADER + "11/1/2019,10,12,9,11,11,1000\n"
    with pytest.raises(BadFile, match="date_order"):
        read(tmp_path, text)
    assert days(read(tmp_path, text, date_order="mdy")) == ["2019-11-01"]
    assert days(read(tmp_path, text, date_order="dmy")) == ["2019-01-11"]


def test_bad_lines_are_rejects_with_their_line_and_the_rest_stays(tmp_path: Path) -> None:
    frame = read(
        tmp_path,
        HEADER
        + LINE
        + "2024-02-30,10,12,9,11,11,1000\n"
        + "2024-01-03,ten,12,9,11,11,1000\n"
        + "2024-01-04,10,12,9\n"
        + "\n"
        + "2024-01-05,10,12,9,11,11,1000,surplus\n"
        + "2024-01-08,10,12,9,11,11,\n"
        + "2024-01-09,10,inf,9,11,11,5\n"
        + "2024-01-02,10,12,9,11.5,11,1000\n",
    )
    assert days(frame) == ["2024-01-02", "2024-01-08"]
    assert frame.bars["close"].tolist() == [11.5, 11.0]
    assert sorted(told(frame)) == [
        (2, "record 10 has the same date"),
        (3, "the date cannot be read"),
        (4, "open is no number"),
        (5, "close is no number"),
        (7, "the line has more fields than the header"),
        (9, "high is no number"),
    ]
    assert frame.raw(4)["Open"] == "ten"
    assert normalize.rows(frame)[1][6] is None


def test_newest_first_is_a_custom_and_disorder_a_warning(tmp_path: Path) -> None:
    def line(day: int) -> str:
        return LINE.replace("01-02", f"01-{day:02}")

    newest_first = read(tmp_path, HEADER + line(4) + line(3) + line(2))
    assert days(newest_first) == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert not newest_first.warnings
    disorder = read(tmp_path, HEADER + line(3) + line(4) + line(2))
    assert days(disorder) == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert len(disorder.warnings) == 1


def test_odd_prices_of_foreign_files_are_flagged_and_kept(tmp_path: Path) -> None:
    frame = read(
        tmp_path, HEADER + "2024-01-02,10,9,9,11,11,1\n2024-01-03,-37,10,-40,-36,1,1\n2024-01-04,1100,1200,1,1110,1,1\n"
    )
    assert frame.bars["flags"].tolist() == [FLAG_PRICE_ORDER, FLAG_NOT_POSITIVE, 0]
    assert not frame.rejects


def test_a_hundredfold_change_of_scale_is_told(tmp_path: Path) -> None:
    frame = read(tmp_path, HEADER + LINE + "2024-01-03,1000,1200,900,1100,1100,1000\n")
    assert frame.warnings == ["the close changes more than 20-fold once, first on 2024-01-03: check the scale"]


def test_zone_and_close_say_when_a_session_ends(tmp_path: Path) -> None:
    frame = read(
        tmp_path,
        HEADER + "2024-01-02,10,12,9,11,11,1\n2024-07-01,10,12,9,11,11,1\n",
        zone="America/New_York",
        close=time(16, 0),
    )
    winter, summer = normalize.rows(frame)
    assert winter[:2] == [1_704_229_200_000_000, "2024-01-02"]  # 21:00 UTC
    assert summer[:2] == [1_719_864_000_000_000, "2024-07-01"]  # 20:00 UTC


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    assert len(read(tmp_path, gzip.compress((HEADER + LINE).encode()), "bars.csv").bars) == 1


@pytest.mark.ci
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b"0" * (200 << 20), 9)
    with pytest.raises(BadFile, match="unpacks to more than"):
        read(tmp_path, bomb)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:20] + b"\xff\xff\xff" + b[23:]])
def test_a_damaged_archive_is_told(tmp_path: Path, damage: Any) -> None:
    packed = gzip.compress((HEADER + LINE * 50).encode())
    with pytest.raises(BadFile, match="damaged"):
        read(tmp_path, damage(packed))


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b'Date,Open\n"open quote', b"\x89PNG\r\n\x1a\n", (HEADER + LINE + "," * 99 + "\n" + LINE).encode()],
)
def test_what_is_no_csv_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadFile):
        read(tmp_path, content)


def test_a_file_with_a_header_alone_is_empty(tmp_path: Path) -> None:
    assert len(read(tmp_path, HEADER).bars) == 0


def test_another_encoding_is_named(tmp_path: Path) -> None:
    text = "日期,开盘,最高,最低,收盘\n2024-01-02,10,12,9,11\n".encode("gb18030")
    with pytest.raises(BadFile, match="is not utf-8"):
        read(tmp_path, text)
    assert len(read(tmp_path, text, encoding="gb18030").bars) == 1


@pytest.mark.parametrize("name", ["../secret.csv", "/etc/passwd", "a/../../secret.csv", "no\0.csv", "missing.csv", "."])
def test_nothing_outside_of_the_root_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.csv").write_text(HEADER + LINE)
    (tmp_path / "root" / "a").mkdir(parents=True)
    with pytest.raises(BadFile):
        CsvFile(tmp_path / "root", name, "X").read("X")


def test_a_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text(HEADER + LINE)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(BadFile, match="outside"):
        CsvFile(tmp_path / "root", "link.csv", "X").read("X")


def test_an_unset_root_names_the_setting() -> None:
    with pytest.raises(SourceUnset, match="JOBRUNNER_CSV_ROOT"):
        CsvFile(None, "bars.csv", "X")


def test_a_file_of_more_lines_than_sessions_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="more than 50,000 lines"):
        read(tmp_path, HEADER + LINE * (MAX_LINES + 1))
