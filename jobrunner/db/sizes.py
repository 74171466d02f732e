"""How much room each table and each index takes: for ``jobrunner db stats``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from jobrunner.db.market import METADATA

# A table's size is that of its rows, with what is stored outside of them, and without its indexes.
_POSTGRESQL = text(
    "SELECT c.relname AS name, t.relname AS belongs_to, "
    "CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END AS bytes, "
    "CASE c.relkind WHEN 'r' THEN coalesce(nullif(s.n_live_tup, 0), greatest(c.reltuples, 0))::bigint END AS rows, "
    "CASE c.relkind WHEN 'r' THEN coalesce(s.n_dead_tup, 0) END AS dead_rows "
    "FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid "
    "JOIN pg_class t ON t.oid = coalesce(i.indrelid, c.oid) LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid "
    "WHERE c.relkind IN ('r', 'i') AND t.relnamespace = current_schema()::regnamespace AND t.relname = ANY(:ours)"
)
_SQLITE = text("SELECT name, tbl_name AS belongs_to FROM sqlite_master WHERE type IN ('table', 'index')")
_SQLITE_PAGES = text("SELECT name, sum(pgsize) AS bytes FROM dbstat GROUP BY name")


def sizes(conn: Connection) -> list[dict[str, Any]]:
    """Each table of ours and each of its indexes, the largest first; ``bytes``, ``rows`` and ``dead_rows`` where known.

    PostgreSQL estimates rows; a SQLite file is counted, and knows no dead ones.
    """
    ours = sorted(METADATA.tables)
    if conn.dialect.name == "sqlite":
        found = [one for one in _of_file(conn) if one["belongs_to"] in ours]
    else:
        found = [dict(row) for row in conn.execute(_POSTGRESQL, {"ours": ours}).mappings()]
    for one in found:
        one["kind"] = "table" if one["name"] == one["belongs_to"] else "index"
    return sorted(found, key=lambda one: (-(one["bytes"] or 0), one["name"]))


def _of_file(conn: Connection) -> list[dict[str, Any]]:
    try:
        pages = {row.name: row.bytes for row in conn.execute(_SQLITE_PAGES)}
    except OperationalError:
        pages = {}  # a SQLite that was built without it
    return [
        {**row, "bytes": pages.get(row["name"]), "rows": _count(conn, row), "dead_rows": None}
        for row in conn.execute(_SQLITE).mappings()
    ]


def _count(conn: Connection, row: Any) -> int | None:
    if row["name"] not in METADATA.tables:
        return None
    return int(conn.execute(text(f'SELECT count(*) FROM "{row["name"]}"')).scalar_one())  # noqa: S608 - a name of ours
