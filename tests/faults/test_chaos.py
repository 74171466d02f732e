"""Chaos by seed: one in every run of the tests, one more with ``ci``, sixty with ``long``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import chaos
from tests.postgres import PrivateServer


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    """One for all seeds: each has a database of its own, and a crash of it is part of the plan."""
    with PrivateServer() as made:
        yield made


def _prove(seed: int, home: Path, server: PrivateServer) -> None:
    violations, figures = chaos.run(seed, chaos.TASKS, home, server)
    print(f"FIGURE chaos, seed {seed}: {figures}")
    assert violations == [], f"replay it: python -m tests.faults.chaos --seed {seed}"
    assert figures["accepted"] > 0


def test_one_seed(tmp_path: Path, server: PrivateServer) -> None:
    _prove(1, tmp_path, server)


@pytest.mark.ci
@pytest.mark.parametrize("seed", range(2, 3))
def test_more_seeds(seed: int, tmp_path: Path, server: PrivateServer) -> None:
    _prove(seed, tmp_path, server)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_060))
def test_sixty_seeds(seed: int, tmp_path: Path, server: PrivateServer) -> None:
    _prove(seed, tmp_path, server)
