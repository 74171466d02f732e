"""One suite of moves, run on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobrunner.db.engine import Database, open_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with nothing in it."""
    opened = open_database(database_url, pool_size=12)
    yield opened
    opened.dispose()
