"""Transactions of anybody that have been open for long: what was taken since they began cannot be cleaned away."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

_OLDEST = text("""
SELECT * FROM (
    SELECT extract(epoch FROM clock_timestamp() - xact_start)::float AS seconds,
           concat('process ', pid, ' of ', usename, ' (', application_name, '), ', state) AS who
    FROM pg_stat_activity
    WHERE datname = current_database() AND coalesce(backend_xmin, backend_xid) IS NOT NULL
        AND backend_type = 'client backend'
        AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)  -- a vacuum keeps no other from its work
    UNION ALL
    SELECT extract(epoch FROM clock_timestamp() - prepared)::float, 'the prepared transaction ' || gid
    FROM pg_prepared_xacts WHERE database = current_database()
) AS found
WHERE seconds > :seconds ORDER BY seconds DESC LIMIT 1
""")


@dataclass(frozen=True)
class OpenTransaction:
    """``who`` as an administrator would look for it, and for how many ``seconds`` it has been open."""

    seconds: float
    who: str


def oldest_transaction(conn: Connection, over: float) -> OpenTransaction | None:
    """The oldest one in this database that is open for more than ``over`` seconds; None where there is none.

    On SQLite never: its one writer is this process. PostgreSQL shows those of other roles to members of
    ``pg_read_all_stats`` alone.
    """
    if conn.dialect.name != "postgresql":
        return None
    found = conn.execute(_OLDEST, {"seconds": over}).first()
    return None if found is None else OpenTransaction(found.seconds, found.who)
