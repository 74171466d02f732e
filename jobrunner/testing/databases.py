"""A fresh copy of a prepared database for each run: a file, or a database of its own on a server."""

from __future__ import annotations

import atexit
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from psycopg import sql
from sqlalchemy import make_url

from jobrunner.db import migrate
from jobrunner.db.engine import Database, open_database

PREFIX = "jobrunner_rehearsal_"

Fresh = Callable[[], str]
"""Makes one more copy and returns its URL; the one before is dropped."""


@contextmanager
def copies(url: str | None, folder: Path, prepare: Callable[[Database], None]) -> Iterator[Fresh]:
    """Copies of a migrated database that ``prepare`` filled, all gone at the block's end.

    They are files in ``folder``; where ``url`` names a PostgreSQL database, new databases beside it, which the user of
    ``url`` must be allowed to create. The database of ``url`` itself is never written to.
    """
    server = None if url is None else open_database(url)
    if server is None or server.is_sqlite:
        yield _files(folder, prepare)
        return
    made: list[str] = []
    try:
        with server.detached() as link:
            try:
                yield _databases(server, link, made, prepare)
            finally:
                for name in made:
                    _drop(link, name)
    finally:
        server.close()


def _files(folder: Path, prepare: Callable[[Database], None]) -> Fresh:
    template = Path(shutil.copy(_migrated(), folder / "prepared.db"))
    _prepare(f"sqlite:///{template.as_posix()}", prepare)

    def fresh() -> str:
        for old in folder.glob("copy.db*"):
            old.unlink()
        copy = Path(shutil.copy(template, folder / "copy.db"))
        return f"sqlite:///{copy.as_posix()}"

    return fresh


@cache
def _migrated() -> Path:
    folder = tempfile.mkdtemp(prefix="jobrunner-rehearsal-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "migrated.db"
    migrate.upgrade(f"sqlite:///{path.as_posix()}")
    return path


def _databases(server: Database, link: Any, made: list[str], prepare: Callable[[Database], None]) -> Fresh:
    def create(template: str) -> str:
        name = f"{PREFIX}{secrets.token_hex(6)}"
        made.append(name)
        link.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def url_of(name: str) -> str:
        return make_url(server.url).set(database=name).render_as_string(hide_password=False)

    template = create("template1")
    migrate.upgrade(url_of(template))
    _prepare(url_of(template), prepare)

    def fresh() -> str:
        for old in made[1:]:
            _drop(link, old)
        del made[1:]
        return url_of(create(template))

    return fresh


def _drop(link: Any, name: str) -> None:
    link.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _prepare(url: str, prepare: Callable[[Database], None]) -> None:
    database = open_database(url)
    try:
        prepare(database)
    finally:
        database.close()  # a copy of the file needs all of it in one place, and a template nobody connected to it
