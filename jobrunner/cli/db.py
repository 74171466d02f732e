"""``db``: the schema of the database, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobrunner.cli.bundles import bundled
from jobrunner.cli.options import AsJson, Base
from jobrunner.cli.output import confirm, document, plain, table, talk
from jobrunner.errors import SchemaMismatch

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SIZE = ("name", "kind", "bytes", "rows", "dead_rows", "belongs_to")

app = typer.Typer(help="The schema of the database, and what it takes.", no_args_is_help=True)


@app.command()
@bundled
def upgrade(as_json: AsJson = False, base: Base = Base()) -> None:
    """Bring the database to the newest schema; harmless when it is there."""
    from jobrunner.db import migrate

    url = base.url
    migrate.upgrade(url)
    _tell(url, as_json)


@app.command(epilog="Example: jobrunner db downgrade base --yes")
@bundled
def downgrade(
    revision: Annotated[str, typer.Argument(help="Down to this revision; base removes every table.")] = "-1",
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking: what the tables hold is lost.")] = False,
    as_json: AsJson = False,
    base: Base = Base(),
) -> None:
    """Take the newest migration back, and with it what its tables hold."""
    from jobrunner.db import migrate

    url = base.url
    if not yes:
        _confirm(revision)
    migrate.downgrade(url, revision)
    _tell(url, as_json)


@app.command()
@bundled
def current(as_json: AsJson = False, base: Base = Base()) -> None:
    """Print the revision that the database has."""
    _tell(base.url, as_json)


@app.command()
@bundled
def check(as_json: AsJson = False, base: Base = Base()) -> None:
    """Tell whether this code can work with the database; exits with 2 and the command to run where it cannot."""
    from jobrunner.db import schema

    url = base.url
    with _looking(url) as conn:
        schema.check(conn)
    _tell(url, as_json)


@app.command(epilog="Example: jobrunner db stats --json")
@bundled
def stats(as_json: AsJson = False, base: Base = Base()) -> None:
    """Tell the size of each table and index; PostgreSQL estimates rows, and those that are dead until a vacuum."""
    from jobrunner.db.sizes import sizes

    with _looking(base.url) as conn:
        found = sizes(conn)
    if as_json:
        document({"sizes": found, "bytes": sum(one["bytes"] or 0 for one in found)})
    else:
        table(_SIZE, ([one[name] for name in _SIZE] for one in found))


@contextmanager
def _looking(url: str) -> Iterator[Connection]:
    from jobrunner.db.engine import open_database

    _refuse_missing(url)
    database = open_database(url, pool_size=1)
    try:
        with database.read() as conn:
            yield conn
    finally:
        database.dispose()


def _confirm(revision: str) -> None:
    import sys

    if not sys.stdin.isatty():
        raise typer.BadParameter("what the tables hold is lost: say --yes to do it", param_hint="--yes")
    talk(f"Down to {revision}: what the tables of the later revisions hold is lost.")
    confirm()


def _refuse_missing(url: str) -> None:
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        raise SchemaMismatch(f"there is no database {path} yet; run: jobrunner db upgrade")


def _tell(url: str, as_json: bool) -> None:
    from jobrunner.db import migrate

    with _looking(url) as conn:
        revision = migrate.current(conn)
    if as_json:
        document({"revision": revision, "head": migrate.head()})
    else:
        plain(revision or "none")
