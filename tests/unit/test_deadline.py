"""Deadlines of statements: each is kept, whatever others are armed, and whoever ends in time is left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from jobrunner.db.deadline import Watchdog

LONG = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000000) SELECT count(*) FROM n"
"""Seconds, and not for ever: nothing but the watchdog ends it."""


@pytest.fixture
def link() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        yield opened


def _is_ended(watchdog: Watchdog, link: sqlite3.Connection) -> bool:
    with pytest.raises(sqlite3.OperationalError, match="interrupted"), watchdog.guard(link, 0.05):
        link.execute(LONG)
    return True


def test_a_short_deadline_is_kept_beside_a_long_one(link: sqlite3.Connection) -> None:
    watchdog = Watchdog()
    with closing(sqlite3.connect(":memory:")) as other, watchdog.guard(other, 3600):
        assert _is_ended(watchdog, link)
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_a_deadline_is_kept_after_others_were_not_needed(link: sqlite3.Connection) -> None:
    watchdog = Watchdog()
    for _ in range(3):
        with watchdog.guard(link, 3600):
            assert link.execute("SELECT 1").fetchone() == (1,)
    assert _is_ended(watchdog, link)
    assert _is_ended(watchdog, link)
    assert link.execute("SELECT 1").fetchone() == (1,), "only what is guarded is ended"
