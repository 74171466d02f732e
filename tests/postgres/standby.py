"""A second server that follows a first one, and may be promoted in its place."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence

import psycopg

from tests.postgres.binaries import NoPostgres
from tests.postgres.server import PrivateServer

NAME = "standby"  # what the first server calls it in synchronous_standby_names


class Standby(PrivateServer):
    """Made of a copy of ``source``, from where it streams by the URL ``via``; read-only until promoted."""

    def __init__(self, source: PrivateServer, via: str) -> None:
        self._source = source
        self._via = via
        super().__init__()

    def _make_data(self) -> None:
        super()._make_data()
        for entry in self.data.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        options = ["-R", "--checkpoint=fast", "--no-sync"]
        made = subprocess.run(
            [self._programs / "pg_basebackup", "-D", self.data, *options, "-d", self._source.url],
            user=self._user,
            cwd=self.data,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            told = f"{made.stderr.strip()}\n{self._source.log[-2000:]}"
            raise NoPostgres(f"pg_basebackup of {self.binaries} failed: {told}")
        with (self.data / "postgresql.auto.conf").open("a") as settings:  # the last one counts
            settings.write(f"primary_conninfo = '{self._via}?application_name={NAME}'\n")

    def promote(self) -> None:
        """Make it the first server, and wait until it takes writes."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute("SELECT pg_promote(true, 30)")


def ask(server: PrivateServer, statements: Sequence[str]) -> list[tuple[object, ...]]:
    """Run statements one by one, as its superuser; returns the rows of the last."""
    with psycopg.connect(server.url, autocommit=True) as conn:
        for statement in statements[:-1]:
            conn.execute(statement.encode())
        cursor = conn.execute(statements[-1].encode())
        return cursor.fetchall() if cursor.description else []


def follow_synchronously(server: PrivateServer) -> None:
    """From now on what the server acknowledges is on its standby too; waits until one follows."""
    ask(server, [f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'", "SELECT pg_reload_conf()"])
    deadline = time.monotonic() + 20
    while ask(server, ["SELECT sync_state FROM pg_stat_replication"]) != [("sync",)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no standby follows within 20 s:\n{server.log[-2000:]}")
        time.sleep(0.05)
