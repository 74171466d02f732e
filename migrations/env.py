"""Runs the migrations: on a connection that the caller hands over, else on the configured database."""

from __future__ import annotations

from functools import partial

from alembic import context

from jobrunner.db import migrate
from jobrunner.db.market import METADATA


def run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is None:
        from jobrunner.settings import load

        url = context.config.get_main_option("sqlalchemy.url") or load().settings.url
        migrate.until_free(partial(migrate.exclusive, url), _migrate)
    else:
        _migrate(connection)


def _migrate(connection: object) -> None:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run()
