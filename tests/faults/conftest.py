"""One fleet per test, on PostgreSQL or on a SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fleet import Fleet
from tests.processes import Processes


@pytest.fixture
def fleet(postgres_url: str, processes: Processes, tmp_path: Path) -> Iterator[Fleet]:
    """Workers on a PostgreSQL database of their own."""
    made = Fleet(processes, postgres_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def alone(sqlite_url: str, processes: Processes, tmp_path: Path) -> Iterator[Fleet]:
    """One process at a time on a SQLite file."""
    made = Fleet(processes, sqlite_url, tmp_path)
    yield made
    made.close()
