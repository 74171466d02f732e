"""Fresh databases on one server: empty, or copied from a template that was migrated once."""

from __future__ import annotations

import secrets
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg

from jobrunner.db import migrate


class Databases:
    """Makes and drops databases on the server at ``url``. Names are random, so that several runs may share a server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._admin = psycopg.connect(url, autocommit=True, connect_timeout=5)
        self._template: str | None = None
        self._made: set[str] = set()

    def create(self, *, migrated: bool = True) -> str:
        """A new database, with jobrunner's tables unless ``migrated`` is false; returns its URL."""
        if not migrated:
            return self._url(self._create("template1"))
        if self._template is None:
            template = self._create("template1")
            migrate.upgrade(self._url(template))
            self._template = template
        return self._url(self._create(self._template))

    def drop(self, url: str) -> None:
        """Drop a database made here, whoever is still connected to it."""
        name = urlsplit(url).path.lstrip("/")
        self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._made.discard(name)

    def close(self) -> None:
        """Drop whatever is left."""
        for name in list(self._made):
            self.drop(self._url(name))
        self._admin.close()

    def _create(self, template: str) -> str:
        name = f"jobrunner_test_{secrets.token_hex(6)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._made.add(name)
        return name

    def _url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def _run(self, statement: LiteralString) -> None:
        self._admin.execute(statement)  # names are made here, of hex digits
