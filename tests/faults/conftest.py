"""Fleets: on PostgreSQL, or alone on a SQLite file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobrunner.db import migrate
from tests.faults.fleet import Fleet
from tests.postgres import PrivateServer
from tests.processes import Processes


@pytest.fixture
def fleet(postgres_url: str, processes: Processes, tmp_path: Path) -> Iterator[Fleet]:
    """Workers on a PostgreSQL database of their own."""
    made = Fleet(processes, postgres_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def apart(private_server: PrivateServer, processes: Processes, tmp_path: Path) -> Iterator[Fleet]:
    """Workers on ``private_server``, which a test may stop: nobody else is on it."""
    migrate.upgrade(private_server.url)
    made = Fleet(processes, private_server.url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def alone(sqlite_url: str, processes: Processes, tmp_path: Path) -> Iterator[Fleet]:
    """One process at a time on a SQLite file."""
    made = Fleet(processes, sqlite_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def alone_on(processes: Processes, tmp_path: Path, sqlite_url: str) -> Iterator[Callable[[str], Fleet]]:
    """Any number of the same, each with a folder of its own."""
    made: list[Fleet] = []

    def make(name: str) -> Fleet:
        home = tmp_path / name
        home.mkdir()
        path = home / "jobrunner.db"
        path.write_bytes(Path(sqlite_url.removeprefix("sqlite:///")).read_bytes())
        made.append(Fleet(processes, f"sqlite:///{path}", home))
        return made[-1]

    yield make
    for one in made:
        one.close()
