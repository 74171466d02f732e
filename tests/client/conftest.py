"""A world of nodes, made anew for each test that asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.world import World
from tests.processes import Processes


@pytest.fixture
def world(processes: Processes, tmp_path: Path, sqlite_url: str) -> World:
    """Nothing runs in it yet."""
    return World(processes, tmp_path, sqlite_url)
