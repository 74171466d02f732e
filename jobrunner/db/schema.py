"""Whether a database's schema fits this code.

Schema numbers are the revisions' own (``0001``). Migrations expand first and contract a release later, so newer
databases serve older code until a contraction raises ``schema_info.oldest_code``.
"""

from __future__ import annotations

from sqlalchemy import Connection, column, inspect, select, table

from jobrunner.db.number import SCHEMA
from jobrunner.db.tables import schema_info
from jobrunner.errors import SchemaMismatch

__all__ = ["SCHEMA", "check", "current", "is_newest"]

_versions = table("alembic_version", column("version_num"))


def current(conn: Connection) -> str | None:
    """The revision that the database has, or None for one that was never migrated."""
    if not inspect(conn).has_table(_versions.name):
        return None
    found = conn.execute(select(_versions.c.version_num)).scalar()
    return None if found is None else str(found)


def is_newest(conn: Connection) -> bool:
    """Whether there is nothing to migrate: the database has the newest schema that this code brings."""
    return current(conn) == f"{SCHEMA:04d}"


def check(conn: Connection) -> None:
    """Raise :class:`SchemaMismatch`, with the command to run, unless this code can work with the schema."""
    found = current(conn)
    if found is None:
        raise SchemaMismatch("the database has no jobrunner tables yet; run: jobrunner db upgrade")
    if int(found) < SCHEMA:
        raise SchemaMismatch(
            f"the database has schema {found}, this code needs {SCHEMA:04d}; run: jobrunner db upgrade"
        )
    oldest = 0
    if inspect(conn).has_table(schema_info.name):
        row = conn.execute(select(schema_info.c.value).where(schema_info.c.key == "oldest_code")).scalar()
        oldest = int(row or 0)
    if oldest > SCHEMA:
        raise SchemaMismatch(
            f"the database (schema {found}) accepts code of schema {oldest:04d} and newer, this is {SCHEMA:04d}; "
            "run: pip install --upgrade jobrunner"
        )
