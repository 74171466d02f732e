"""Figures of the machine: one that cannot be had keeps its last value, and stops nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobrunner.node import host
from jobrunner.node.host import Host


def _raise(*_args: Any, **_kwargs: Any) -> Any:
    raise psutil.NoSuchProcess(1)


def _gone(*_args: Any, **_kwargs: Any) -> Any:
    raise OSError("the mount is gone")


def test_a_sample_is_of_this_machine(tmp_path: Path) -> None:
    figures = Host(tmp_path).sample()
    assert figures.cpu_count >= 1
    assert figures.memory_total > 2**26
    assert 10 * 2**20 < figures.rss < figures.memory_total
    assert 0 < figures.memory_percent <= 100
    assert 0 < figures.disk_percent <= 100
    assert set(figures.columns()) == set(host.Figures.__dataclass_fields__)


def test_figures_that_cannot_be_had_keep_their_last_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Host(tmp_path)
    before = here.sample()
    for name in ("cpu_percent", "virtual_memory", "getloadavg", "cpu_count"):
        monkeypatch.setattr(psutil, name, _raise)
    monkeypatch.setattr(psutil, "disk_usage", _gone)
    after = here.sample()
    assert after == host.Figures(
        cpu_percent=before.cpu_percent,
        memory_percent=before.memory_percent,
        disk_percent=before.disk_percent,
        load=before.load,
        rss=after.rss,
        cpu_count=before.cpu_count,
        memory_total=before.memory_total,
    )


def test_the_very_first_sample_may_fail_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Host(tmp_path)
    for name in ("cpu_percent", "virtual_memory", "getloadavg", "cpu_count", "disk_usage"):
        monkeypatch.setattr(psutil, name, _raise)
    monkeypatch.setattr(here, "rss", _raise)
    assert here.sample() == host.Figures()


def test_a_child_that_ends_between_two_looks_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        memory_info = _raise

    here = Host(tmp_path)
    monkeypatch.setattr(here._process, "children", lambda recursive: [Ended()])
    assert here.rss() > 2**20


def test_the_mean_of_the_processor_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Host(tmp_path)
    assert here.cpu_mean() == 0.0
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for moment, percent in ((100.0, 90.0), (105.0, 30.0), (111.0, 10.0)):
        clock[0] = moment
        monkeypatch.setattr(psutil, "cpu_percent", lambda percent=percent: percent)
        here.sample()
    assert here.cpu_mean() == 20.0, "90 % is older than ten seconds"
