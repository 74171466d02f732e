"""What people type."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from jobrunner.cli import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.5", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), (" 5M ", 300)],
)
def test_durations(text: str, seconds: float) -> None:
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "-5", "m", "1h30", "nan", "1e3"])
def test_no_durations(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="no duration"):
        values.duration(text)


def test_moments_are_aware() -> None:
    assert values.moment("2026-01-31T09:30:00+08:00") == datetime(2026, 1, 31, 1, 30, tzinfo=UTC)
    assert values.moment("2026-01-31T09:30").tzinfo is not None
    with pytest.raises(typer.BadParameter, match="write it like"):
        values.moment("tomorrow")


def test_what_lies_before_the_calendar_is_no_time() -> None:
    assert values.since("1d") < datetime.now(UTC)
    for text in ("99999999d", "9" * 400 + "d"):
        with pytest.raises(typer.BadParameter, match="before the year 1"):
            values.since(text)


def test_standard_input_as_windows_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'\xef\xbb\xbf{"a": 1}'), "utf-8"))
    assert values.arguments(["-"]) == {"a": 1}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff{}"), "utf-8"))
    with pytest.raises(typer.BadParameter, match="standard input is not UTF-8"):
        values.arguments(["-"])


def test_arguments_of_every_kind_and_later_ones_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more.json").write_text('\ufeff{"a": "from the file", "f": null}', "utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"s": [1]}'))
    items = ["a=1", "b:=[1, 2.5]", "c=x=y:=z", "d=", f"@{tmp_path / 'more.json'}", "-", "f:=true", "g:h=1"]
    assert values.arguments(items) == {
        "a": "from the file",
        "b": [1, 2.5],
        "c": "x=y:=z",
        "d": "",
        "f": True,
        "s": [1],
        "g:h": "1",
    }


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("word", "none of key=text"),
        ("=1", "none of key=text"),
        ("a:=[1", "a:= is not JSON"),
        ("a:=NaN", "NaN is not JSON"),
        ("@nowhere.json", "cannot be read"),
    ],
)
def test_arguments_that_are_none(item: str, told: str) -> None:
    with pytest.raises(typer.BadParameter, match=told):
        values.arguments([item])


def test_a_file_must_hold_an_object(tmp_path: Path) -> None:
    for text, told in (("[1]", "object"), ("{", "not JSON")):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(typer.BadParameter, match=told):
            values.arguments([f"@{tmp_path / 'x.json'}"])
