"""What the doctor looks at in the database itself: that it answers, is new enough, migrated, on time, and heard."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jobrunner.client.checkup import Finding, fail, ok, warn
from jobrunner.client.checkup_here import door
from jobrunner.db import probe, schema
from jobrunner.db.engine import Database, open_database
from jobrunner.db.lock import PATIENCE, FileLock
from jobrunner.errors import DatabaseLocked, DatabaseUnavailable, SchemaMismatch, SettingsError
from jobrunner.queue import views
from jobrunner.settings import Settings
from jobrunner.text import mask

SKEW = 2.0  # seconds that two clocks may differ: schedules and leases go by the database's alone


def database(settings: Settings) -> Iterator[Finding]:
    """Everything about the database of these settings, and who may come in; ends where the rest would be moot."""
    url = settings.url
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        yield fail("database", f"there is no {path} yet", "jobrunner up (or: jobrunner db upgrade)")
        yield door(settings, has_key=False, opens=False)  # keys are kept there
        return
    held = FileLock(path) if path != url else None
    try:
        if held is not None:
            held.take(patience=PATIENCE)
    except DatabaseLocked as locked:
        yield _locked(locked)
        return
    except SettingsError as error:
        told, _, fix = str(error).partition("; ")
        yield fail("database", told, fix)
        return
    opened = open_database(url, pool_size=2)
    try:
        yield from _opened(opened, settings)
    finally:
        opened.dispose()
        if held is not None:
            held.drop()


def _locked(locked: DatabaseLocked) -> Finding:
    told, _, fix = str(locked).partition(". ")
    return ok("database", told) if locked.owner.get("url") else fail("database", told, fix)


def _opened(opened: Database, settings: Settings) -> Iterator[Finding]:
    try:
        with opened.begin(free=True) as conn:  # on SQLite the writing one: after a crash no other can open the file
            name, enough = probe.version(conn)
            yield ok("database", f"{name} at {mask(opened.url.render_as_string())}")
            if not enough:
                yield fail("version", f"{name} is too old", f"upgrade the server to {probe.OLDEST} or later")
                return
            wrong = _schema_error(conn)
            found = schema.current(conn)
            yield _schema(wrong, found)
            if wrong is not None:
                if found is None:
                    yield door(settings, has_key=False, opens=False)
                return
            yield door(settings, has_key=views.is_any_key(conn), opens=bool(views.usable_keys(conn)))
            yield _clock(datetime.now(UTC), views.now(conn), datetime.now(UTC))
        if not opened.is_sqlite:
            yield _wire(probe.is_pooled(opened), probe.is_heard(opened))
    except (DatabaseUnavailable, DBAPIError) as error:
        yield fail(
            "database",
            mask(str(error).partition("\n")[0]),
            "is its server running, and JOBRUNNER_DATABASE_URL right? See: jobrunner config show",
        )


def _schema_error(conn: Connection) -> str | None:
    """Why this code cannot work with the schema; None where it can."""
    try:
        schema.check(conn)
    except SchemaMismatch as error:
        return str(error)
    return None


def _schema(wrong: str | None, found: str | None) -> Finding:
    if wrong is not None:
        told, _, fix = wrong.partition("; run: ")
        return fail("schema", told, fix)
    if found != f"{schema.SCHEMA:04d}":
        return warn("schema", f"{found} is newer than this code's", "pip install --upgrade jobrunner")
    return ok("schema", f"{found}, the newest")


def _clock(before: datetime, there: datetime, after: datetime) -> Finding:
    apart = max(0.0, (before - there).total_seconds(), (there - after).total_seconds())
    if apart > SKEW:
        return warn(
            "clock",
            f"this machine's and the database's are {apart:.1f} s apart; tasks go by the database's",
            "let both follow NTP: timedatectl set-ntp true",
        )
    return ok("clock", f"within {max(apart, 0.1):.1f} s of the database's")


def _wire(pooled: bool, heard: bool) -> Finding:
    if heard:
        return ok("hints", "NOTIFY is heard" + (", behind a pooler" if pooled else ""))
    where = "a pooler in transaction mode swallows NOTIFY" if pooled else "NOTIFY was not heard"
    return warn(
        "hints",
        f"{where}: workers look for tasks every poll_interval instead of hearing of them",
        "connect to the server itself or pool by session, or set a shorter JOBRUNNER_POLL_INTERVAL",
    )
