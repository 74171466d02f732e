"""The schema's history: bringing a database to this code's schema.

Alembic, with the templates and highlighters that it brings, takes 8 MB and a tenth of a second: processes that only ask
whether the schema fits ask :mod:`jobrunner.db.schema`, and import this where there is something to migrate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from jobrunner.db.engine import Database, open_database
from jobrunner.db.lock import PATIENCE, FileLock
from jobrunner.db.schema import SCHEMA, check, current
from jobrunner.errors import DatabaseBusy, SchemaMismatch
from jobrunner.logs import get_logger
from jobrunner.settings.failpoints import hit

__all__ = [
    "SCHEMA",
    "check",
    "current",
    "downgrade",
    "exclusive",
    "head",
    "own_connection",
    "until_free",
    "upgrade",
    "upgrade_owned",
]

MIGRATION_DEADLINE = 3600.0  # seconds
# Seconds for which one waits for a table that somebody's open transaction holds: all that comes after it waits behind
# it. Without this an idle transaction of 5 s kept every worker and client from the queue for as long.
LOCK_PATIENCE = 1
AGAIN = 2.0  # seconds until it is tried again, from its beginning
_LOCK_ID = 0x6A6F6272756E  # "jobrun": one migration at a time per database

log = get_logger(__name__)


def _config() -> Config:
    package = Path(__file__).resolve().parent.parent
    installed = package / "_migrations"
    home = installed if installed.is_dir() else package.parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(home).replace("%", "%%"))
    return config


def head() -> str:
    """The newest revision that this code brings."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise SchemaMismatch("this installation has no migrations")
    return found


@contextmanager
def exclusive(url: str) -> Iterator[Connection]:
    """A connection in a transaction that only one migration at a time can have."""
    database = open_database(url)
    lock = FileLock(database.url.database or "") if database.is_sqlite else None
    if lock is not None:
        lock.take(patience=PATIENCE)
    try:
        with own_connection(database) as conn:
            yield conn
    finally:
        database.dispose()
        if lock is not None:
            lock.drop()


@contextmanager
def own_connection(database: Database) -> Iterator[Connection]:
    """Like :func:`exclusive`, for a process that owns its SQLite file already."""
    with database.begin(deadline=MIGRATION_DEADLINE, free=True) as conn:
        if not database.is_sqlite:
            # Ends with the transaction: a session's lock would stay behind in a pooler and block every later one.
            conn.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})
            conn.execute(text(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE}s'"))
        yield conn


def until_free(own: Callable[[], AbstractContextManager[Connection]], act: Callable[[Connection], None]) -> None:
    """Act on such a connection, and from the beginning again while others hold what it needs."""
    until = time.monotonic() + MIGRATION_DEADLINE
    while True:
        try:
            with own() as conn:
                return act(conn)
        except DatabaseBusy as error:
            if time.monotonic() > until:
                raise
            log.warning("a migration waits for an open transaction to end", error=str(error))
            time.sleep(AGAIN)


def _run(conn: Connection, revision: str, *, down: bool = False) -> None:
    found = current(conn)
    if found is not None and found > head():  # newer code was here: this one can work with it unless `check` says no
        if down:
            raise SchemaMismatch(f"newer code brought the database to {found}: only that can take it back")
        return
    config = _config()
    config.attributes["connection"] = conn
    try:
        (command.downgrade if down else command.upgrade)(config, revision)
    except CommandError as error:  # no such revision
        raise SchemaMismatch(str(error)) from error
    hit("migrate-before-commit")


def upgrade(url: str) -> None:
    """Bring the database at ``url`` to the newest schema. Harmless when it is there already, or beyond."""
    until_free(partial(exclusive, url), partial(_run, revision="head"))


def upgrade_owned(database: Database) -> None:
    """The same on a database that this process has open (and, on SQLite, locked)."""
    until_free(partial(own_connection, database), partial(_run, revision="head"))


def downgrade(url: str, revision: str = "-1") -> None:
    """Take the newest migrations back, down to ``revision``; ``base`` removes every table."""
    until_free(partial(exclusive, url), partial(_run, revision=revision, down=True))
