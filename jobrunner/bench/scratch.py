"""Where measurements write: a schema of their own on PostgreSQL, a file of their own on SQLite; gone afterwards."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from jobrunner.db import migrate
from jobrunner.db.engine import Database, open_database
from jobrunner.db.postgresql import CONNECT_TIMEOUT
from jobrunner.errors import DatabaseUnavailable, SettingsError
from jobrunner.settings import Settings

PREFIX = "jobrunner_bench_"


class Scratch:
    """A migrated, empty database, and a folder. For a ``with`` block, which removes both however it ends.

    ``url`` is for jobrunner; ``plain`` for the bare side: a conninfo for psycopg, or the path of the SQLite file.
    ``admin`` is a psycopg connection in autocommit, None on SQLite. A SQLite file belongs to one process at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self.is_sqlite = settings.is_sqlite
        self.schema = f"{PREFIX}{secrets.token_hex(6)}"
        self.admin: psycopg.Connection[Any] | None = None
        self.leftovers: list[str] = []
        self._settings = settings
        self._configured = settings.url
        self._database: Database | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="jobrunner-bench-"))
        try:
            if self.is_sqlite:
                self._file = self.folder / "bench.db"
                self.url, self.plain = f"sqlite:///{self._file.as_posix()}", str(self._file)
                migrate.upgrade(f"sqlite:///{self._template.as_posix()}")
                self.clear()
            else:
                self._make_schema()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._database is not None:
                self._database.dispose()
            if self.admin is not None:
                self._drop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> AbstractContextManager[Database]:
        """A database to work on, for a block in which, on SQLite, no other process works."""
        if self.is_sqlite:
            return self._opened()
        if self._database is None:
            self._database = open_database(self.url)
        return nullcontext(self._database)

    def clear(self) -> None:
        """No task, no node, nothing that a run left."""
        if self.admin is not None:
            self.admin.execute("TRUNCATE tasks, attempts, task_logs, nodes, node_samples, queues, firings")
            return
        for path in self.folder.glob("bench.db*"):
            path.unlink()
        shutil.copy(self._template, self._file)

    def twin(self) -> Scratch:
        """Another one on the same server, for a ``with`` block."""
        return Scratch(self._settings)

    def spare(self) -> str:
        """The path of a second, empty SQLite file: the first belongs to the process that works on it."""
        return str(shutil.copy(self._template, self.folder / f"spare-{secrets.token_hex(4)}.db"))

    def query(self, statement: str, *given: Any) -> Any:
        """The first row of a statement on PostgreSQL, as a tuple."""
        assert self.admin is not None
        return self.admin.execute(statement.encode(), given or None).fetchone()

    def version(self) -> str:
        """The database's name and version, and what its durability is."""
        if self.is_sqlite:
            import sqlite3

            return f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL"
        told = self.query(
            "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')"
        )
        return "PostgreSQL {}, fsync {}, synchronous_commit {}".format(*told)

    @property
    def _template(self) -> Path:
        return self.folder / "template.db"

    @contextmanager
    def _opened(self) -> Iterator[Database]:
        database = open_database(self.url)
        try:
            yield database
        finally:
            database.close()

    def _make_schema(self) -> None:
        url = make_url(self._configured)
        try:
            self.admin = psycopg.connect(_conninfo(url), autocommit=True, connect_timeout=CONNECT_TIMEOUT)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(str(error).strip().splitlines()[0]) from error
        old = self.admin.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [PREFIX])
        self.leftovers = [str(name) for (name,) in old]
        try:
            self.admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.schema)))
        except psycopg.errors.InsufficientPrivilege as error:
            what = f"GRANT CREATE ON DATABASE {self.admin.info.dbname} TO {self.admin.info.user}"
            raise SettingsError(
                f"database_url: a bench makes a schema of its own; {error}. Its owner can say {what}"
            ) from error
        self.admin.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(self.schema)))
        given = url.query.get("options", "")
        options = " ".join([*([given] if isinstance(given, str) else given), f"-csearch_path={self.schema}"]).strip()
        inside = url.update_query_dict({"options": options})
        self.url, self.plain = inside.render_as_string(hide_password=False), _conninfo(inside)
        migrate.upgrade(self.url)

    def _drop(self) -> None:
        assert self.admin is not None
        gone = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(self.schema))
        try:
            self.admin.execute(gone)
        except psycopg.OperationalError:  # cut in the middle of a statement, as by Ctrl-C
            with psycopg.connect(_conninfo(make_url(self._configured)), autocommit=True) as again:
                again.execute(gone)
        finally:
            with suppress(psycopg.Error):
                self.admin.close()


def _conninfo(url: URL) -> str:
    text = url.difference_update_query(["prepare_threshold"]).render_as_string(hide_password=False)
    return text.replace("+psycopg", "", 1)
