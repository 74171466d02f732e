"""One suite of moves, run on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobrunner.db import engine
from jobrunner.db.engine import Database, open_database
from jobrunner.queue import views


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with nothing in it."""
    opened = open_database(database_url, pool_size=12)
    yield opened
    opened.dispose()


@pytest.fixture
def grown_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The same, of a process that has run for as long as its server, and may judge others. Its clock stands still."""
    monkeypatch.setattr(views, "server_uptime", lambda conn: 1e9)
    told = [1_000.0]
    monkeypatch.setattr(engine, "_clock", lambda: told[0])
    opened = open_database(database.url.render_as_string(hide_password=False))
    told[0] += 1e6
    opened.unbroken_for(absence=1e9)
    yield opened
    opened.dispose()
