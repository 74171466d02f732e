from __future__ import annotations

from pathlib import Path

import pytest

from jobrunner.data_import.sample import SESSIONS, write_sample
from jobrunner.data_import.sources.tongdaxin import Vipdoc
from tests.data_import.support import Importer


def test_the_sample_is_a_vipdoc_that_calls_itself_generated(tmp_path: Path) -> None:
    symbols = write_sample(tmp_path / "sample")
    assert sorted(symbols) == Vipdoc(tmp_path / "sample").symbols() == ["009999.SZ", "609999.SH", "839999.BJ"]
    assert (tmp_path / "sample" / "README.txt").read_text().startswith("SAMPLE DATA, GENERATED")
    for symbol in symbols:
        frame = Vipdoc(tmp_path / "sample").read(symbol)
        assert (len(frame.bars), frame.rejects, frame.warnings) == (SESSIONS, [], [])
        assert not frame.bars["flags"].any()
        assert max(day.item().weekday() for day in frame.bars["session"]) == 4


def test_a_repeat_writes_the_same_bytes(tmp_path: Path) -> None:
    def content() -> dict[str, bytes]:
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.day")}

    write_sample(tmp_path)
    first = content()
    write_sample(tmp_path)
    assert content() == first
    assert len(first) == 3


def test_sample_data_never_mixes_with_real_data(tmp_path: Path) -> None:
    (tmp_path / "sh").mkdir()
    with pytest.raises(FileExistsError):
        write_sample(tmp_path)


def test_the_sample_can_be_imported(importer: Importer, tmp_path: Path) -> None:
    importer.tdx_root = tmp_path / "sample"
    write_sample(importer.tdx_root)
    result = importer()
    assert (result["imported_count"], result["inserted"], result["warnings_count"]) == (3, 3 * SESSIONS, 0)
