"""Where the files lie: roots, names, and what must never be reached."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobrunner.data_import.errors import BadFile, BadSymbol, DataError, SourceUnset, SymbolNotFound
from jobrunner.data_import.sources.tongdaxin import Vipdoc
from tests.data_import.support import put, record


def test_the_root_may_be_the_vipdoc_folder_or_hold_it(root: Path) -> None:
    put(root, "sz000001.day", record(20240102))
    assert Vipdoc(root).symbols() == Vipdoc(root.parent).symbols() == ["000001.SZ"]


def test_names_are_matched_without_case(tmp_path: Path) -> None:
    folder = tmp_path / "VipDoc" / "SH" / "LDay"
    folder.mkdir(parents=True)
    (folder / "SH600050.DAY").write_bytes(record(20240102))
    found = Vipdoc(tmp_path)
    assert found.symbols() == ["600050.SH"]
    assert len(found.read("600050.SH").bars) == 1


def test_two_files_that_differ_in_case_only_are_an_error(root: Path) -> None:
    put(root, "sh600050.day", record(20240102))
    put(root, "SH600050.DAY", record(20240102))
    with pytest.raises(DataError, match="differ in case only"):
        Vipdoc(root).read("600050.SH")


def test_other_files_are_no_symbols(root: Path) -> None:
    for name in ("sh60005.day", "sh600050.day.bak", "sz000001.lc5"):
        put(root, name, record(20240102))
    (root / "sh" / "lday" / "sz000002.day").write_bytes(record(20240102))  # of another market
    assert Vipdoc(root).symbols() == []


def test_a_bare_code_is_resolved_by_the_files(root: Path) -> None:
    put(root, "sh000001.day", record(20240102))
    put(root, "sz000001.day", record(20240102))
    put(root, "sz300059.day", record(20240102))
    found = Vipdoc(root)
    assert found.resolve("300059") == "300059.SZ"
    with pytest.raises(BadSymbol, match=r"000001\.SH or 000001\.SZ"):
        found.resolve("000001")


def test_a_symbol_without_a_file_is_told(root: Path) -> None:
    with pytest.raises(SymbolNotFound, match=r"600519\.SH has no file sh/lday/sh600519\.day"):
        Vipdoc(root).read("600519.SH")


@pytest.mark.parametrize("given", [None, ""])
def test_an_unset_root_names_the_setting(given: str | None) -> None:
    with pytest.raises(SourceUnset, match="JOBRUNNER_TDX_ROOT"):
        Vipdoc(given)


def test_a_root_that_is_not_there_or_holds_no_vipdoc_names_the_setting(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(SourceUnset, match="JOBRUNNER_TDX_ROOT"):
            Vipdoc(folder)


def test_a_link_out_of_the_root_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.day"
    outside.write_bytes(record(20240102))
    (root / "sh" / "lday" / "sh600000.day").symlink_to(outside)
    with pytest.raises(BadFile, match="outside"):
        Vipdoc(root).read("600000.SH")


def test_a_folder_that_is_a_link_out_of_the_root_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "sz000001.day").write_bytes(record(20240102))
    (root / "sz").mkdir()
    (root / "sz" / "lday").symlink_to(outside)
    with pytest.raises(BadFile, match="outside"):
        Vipdoc(root).read("000001.SZ")


def test_a_link_within_the_root_is_fine(root: Path) -> None:
    put(root, "sh600000.day", record(20240102))
    (root / "sh" / "lday" / "sh600001.day").symlink_to("sh600000.day")
    assert len(Vipdoc(root).read("600001.SH").bars) == 1


def test_a_root_that_is_itself_a_link_is_fine(root: Path, tmp_path: Path) -> None:
    put(root, "sh600000.day", record(20240102))
    (tmp_path / "link").symlink_to(root)
    assert len(Vipdoc(tmp_path / "link").read("600000.SH").bars) == 1


def test_a_loop_of_links_is_an_error(root: Path) -> None:
    (root / "sh" / "lday" / "sh600000.day").symlink_to("sh600000.day")
    with pytest.raises(BadFile):
        Vipdoc(root).read("600000.SH")


def test_a_pipe_or_a_folder_in_place_of_a_file_is_an_error(root: Path) -> None:
    os.mkfifo(root / "sh" / "lday" / "sh600000.day")
    (root / "sh" / "lday" / "sh600001.day").mkdir()
    for symbol in ("600000.SH", "600001.SH"):
        with pytest.raises(BadFile):
            Vipdoc(root).read(symbol)


def test_a_file_that_vanishes_is_told(root: Path) -> None:
    path = put(root, "sh600000.day", record(20240102))
    found = Vipdoc(root)
    path.unlink()
    with pytest.raises(BadFile, match="not there"):
        found.read("600000.SH")
