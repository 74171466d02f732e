"""A database on both kinds, and a settler at work on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from jobrunner.db.engine import Database, open_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with a table that effects write to."""
    opened = open_database(database_url)
    with opened.begin() as conn:
        conn.execute(text("CREATE TABLE ledger (task_id text NOT NULL, attempt integer NOT NULL)"))
    yield opened
    opened.dispose()
