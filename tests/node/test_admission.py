"""When a node takes no more work, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest

from jobrunner.node.admission import refusal
from jobrunner.node.host import Figures

MIB = 2**20


def _refusal(**given: Any) -> str | None:
    told: dict[str, Any] = {
        "figures": Figures(),
        "running": 1,
        "cpu_mean": 0.0,
        "max_memory_mb": None,
        "max_cpu_percent": None,
        **given,
    }
    return refusal(told.pop("figures"), **told)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"figures": Figures(rss=99 * MIB), "max_memory_mb": 100},
        {"figures": Figures(memory_percent=99.0), "running": 0},
        {"cpu_mean": 100.0},
        {"cpu_mean": 100.0, "max_cpu_percent": 80.0, "running": 0},
        {"cpu_mean": 80.0, "max_cpu_percent": 80.0},
    ],
)
def test_it_goes_on(given: dict[str, Any]) -> None:
    assert _refusal(**given) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"figures": Figures(rss=100 * MIB), "max_memory_mb": 100}, "100 MiB used, max_memory_mb is 100"),
        ({"figures": Figures(rss=100 * MIB), "max_memory_mb": 100, "running": 0}, "out of memory"),
        ({"figures": Figures(memory_percent=97.0)}, "the machine's memory is 97 % full"),
        ({"cpu_mean": 80.1, "max_cpu_percent": 80.0}, "max_cpu_percent is 80"),
    ],
)
def test_it_stops_and_says_why(given: dict[str, Any], told: str) -> None:
    assert told in (_refusal(**given) or "")
