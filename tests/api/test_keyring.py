"""What one process knows of the keys, and how old that may be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobrunner.api import keyring
from jobrunner.api.keyring import Keyring
from jobrunner.db.engine import Database, open_database
from jobrunner.errors import DatabaseUnavailable, SettingsError
from jobrunner.queue import store, views
from jobrunner.runtime.run import _check_door
from jobrunner.settings import Settings


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """Both databases tell of keys alike: one kind will do."""
    opened = open_database(sqlite_url)
    yield opened
    opened.dispose()


def issue(database: Database) -> store.Issued:
    with database.begin() as conn:
        return store.issue_key(conn, "probe", ["read"])


def while_it_reads(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Let ``act`` happen once a look has read what it will tell."""
    look = views.usable_keys

    def late(conn: Any) -> Any:
        found = look(conn)
        act()
        return found

    monkeypatch.setattr(views, "usable_keys", late)


def test_what_a_lost_database_knew_last_goes_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    issued = issue(database)
    ring = Keyring(database)
    ring.look()
    monkeypatch.setattr(keyring, "WITHIN", 0.2)
    database.close()
    ring.look()
    assert ring.find(issued.text) is not None
    assert ring.find(issued.text[:-1]) is None
    assert ring.closed


def test_a_lost_database_is_not_asked_again_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.05)
    ring = Keyring(database)
    ring.look()
    ring.forget()

    def lost(**_told: Any) -> Any:
        time.sleep(0.06)
        raise DatabaseUnavailable("it is lost")

    monkeypatch.setattr(database, "read", lost)
    ring.look()
    assert ring.fresh


def test_a_look_that_began_before_a_change_is_not_taken_for_one_after_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Keyring(database)
    made: list[store.Issued] = []

    def change() -> None:
        if not made:
            made.append(issue(database))
            ring.forget()

    while_it_reads(monkeypatch, change)
    ring.look()
    assert not ring.fresh
    ring.look()
    assert ring.fresh
    assert ring.find(made[0].text) is not None


def test_what_is_known_is_as_old_as_the_beginning_of_the_look(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.05)
    while_it_reads(monkeypatch, lambda: time.sleep(0.06))
    ring = Keyring(database)
    ring.look()
    assert not ring.fresh


def test_all_usable_keys_are_known(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobrunner.queue.views.keys.KEYS_MOST", 2)
    texts = [issue(database).text for _ in range(4)]
    ring = Keyring(database)
    assert not ring.closed
    ring.look()
    assert all(ring.find(text) for text in texts)
    assert ring.closed


def test_a_key_that_has_ended_keeps_no_server_from_starting(database: Database) -> None:
    settings = Settings(host="0.0.0.0")
    with pytest.raises(SettingsError):
        _check_door(database, settings)
    with database.begin() as conn:
        store.revoke_key(conn, store.issue_key(conn, "probe", ["admin"]).id)
    _check_door(database, settings)
