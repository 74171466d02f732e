"""One suite of moves, run on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobrunner.db import engine
from jobrunner.db.engine import Database, open_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with nothing in it."""
    opened = open_database(database_url, pool_size=12)
    yield opened
    opened.dispose()


@pytest.fixture
def grown_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The same, of a process that has run for long, and may judge others. Its clock stands still."""
    told = [1_000.0]
    monkeypatch.setattr(engine, "_clock", lambda: told[0])
    opened = open_database(database.url.render_as_string(hide_password=False))
    for _ in range(10):
        told[0] += 10.0
        opened.answered()
    yield opened
    opened.dispose()
