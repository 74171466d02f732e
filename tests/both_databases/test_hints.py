"""Hints that are gathered: none is lost where their sender ends in good order."""

from __future__ import annotations

import psycopg
import pytest

from jobrunner.client.local import Local
from jobrunner.db.engine import Database
from jobrunner.db.hints import Hints
from jobrunner.db.notes import CHANNEL, WORK


def listening(database: Database) -> psycopg.Connection[object]:
    link = psycopg.connect(database.url.render_as_string(hide_password=False).replace("+psycopg", ""), autocommit=True)
    link.execute(f"LISTEN {CHANNEL}")
    return link


def test_a_hint_that_waits_is_sent_before_the_end(postgres_url: str) -> None:
    database = Database(postgres_url)
    with listening(database) as link:
        hints = Hints(database, lambda _topic: None, listen=False)
        hints.start()
        for topic in ("first", "second"):
            hints.send(topic)
            if topic == "first":
                assert [note.payload for note in link.notifies(timeout=15, stop_after=1)] == ["first"]
        hints.stop()
        assert [note.payload for note in link.notifies(timeout=15, stop_after=1)] == ["second"]
    database.dispose()


def test_a_desk_hints_after_its_last_submission(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobrunner.client.local.SELDOM", 5.0)  # on a busy machine 0.02 s pass between two submissions
    database = Database(postgres_url)
    with listening(database) as link:
        with Local(postgres_url, allow_unknown=True) as desk:
            desk.submit("work", {}, {})
            assert [note.payload for note in link.notifies(timeout=15, stop_after=1)] == [WORK]
            for _ in range(50):
                desk.submit("work", {}, {})
        told = [note.payload for note in link.notifies(timeout=0.2)]
        assert 1 <= len(told) < 50, "gathered"
    database.dispose()
