"""The handler as a worker calls it: registered, validated, and on the folders that the operator set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import jobrunner.data_import  # noqa: F401  registers the handler
from jobrunner.data_import.errors import SourceUnset
from jobrunner.handlers import Context, get
from jobrunner.queue.task import Lease, Task
from tests.data_import.support import Importer, put, records

DAYS = (20240102, 20240103)


def call(importer: Importer, data: dict[str, Any]) -> dict[str, Any]:
    handler = get("data_import")
    task = Task(Lease(1, "token", 1), "t", "data_import", "{}", "default", 5, 0, None, 3, 0, 0, 0)
    arguments = handler.arguments.bind(data, Context(task, importer.channel))
    result: dict[str, Any] = handler.function(**arguments)
    return result


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration file but what the test sets."""
    monkeypatch.chdir(tmp_path)
    for name in ("JOBRUNNER_TDX_ROOT", "JOBRUNNER_CSV_ROOT", "JOBRUNNER_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_the_root_comes_from_the_setting(importer: Importer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "sz000001.day", records(DAYS))
    monkeypatch.setenv("JOBRUNNER_TDX_ROOT", str(root))
    assert call(importer, {"symbols": ["000001.SZ"]})["inserted"] == 2


def test_the_csv_root_comes_from_the_setting(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("date,open,high,low,close,volume\n2024-01-02,1,1,1,1,1\n")
    monkeypatch.setenv("JOBRUNNER_CSV_ROOT", str(tmp_path))
    assert call(importer, {"data_source": "csv", "file": "a.csv", "symbol": "X"})["inserted"] == 1


@pytest.mark.parametrize(
    ("data", "setting"),
    [({}, "JOBRUNNER_TDX_ROOT"), ({"source": "csv", "file": "a", "symbol": "X"}, "JOBRUNNER_CSV_ROOT")],
)
def test_a_missing_setting_is_named(importer: Importer, data: dict[str, Any], setting: str) -> None:
    with pytest.raises(SourceUnset, match=setting):
        call(importer, data)


def test_the_type_is_found_by_its_entry_point_and_runs_in_a_child() -> None:
    handler = get("data_import")
    assert (handler.kind, handler.module) == ("child", "jobrunner.data_import.handler")
    assert handler.description.startswith("Import K-line bars")
