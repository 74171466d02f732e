"""How PostgreSQL is connected to: the session's settings, and plans that statistics cannot spoil."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.types.string import TextLoader
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from jobrunner.db.deadline import WATCHDOG
from jobrunner.db.direct import OWN, Own
from jobrunner.db.faults import DEAD_STATES

CONNECT_TIMEOUT = 5  # seconds
IDLE = 15  # seconds until the server frees the locks of a process that was stopped in mid-transaction
PREPARED_AT = 5  # uses after which psycopg prepares a statement by itself

_SESSION = {
    "idle_in_transaction_session_timeout": f"{IDLE}s",
    "timezone": "UTC",
    "datestyle": "ISO",
    # Our statements take milliseconds, but the planner thinks some of them dear: compiling one took 357 ms.
    "jit": "off",
}
_FREE = {
    # A plan that was kept since the queue was empty reads the whole table until it is analysed.
    "plan_cache_mode": "force_custom_plan",
}
_PINNED = {
    # To plan a claim takes 0.5 ms in a busy worker and 2 ms in an idle one: more than to carry it out. So plans are
    # made once, whatever the values; and since one that was made for an empty queue would read the whole table later,
    # they may only be made of what is right at any size: a nested loop over an index.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_mergejoin": "off",
    "enable_sort": "off",
}

# A pooler hands out other numbers than the server's own, and what is set behind it, strangers inherit: all but the
# two that poolers keep apart for each client.
_SET = """
SELECT pg_backend_pid(), count(set_config(name, value, false))
FROM unnest(%s::text[], %s::text[]) AS s (name, value)
WHERE name IN ('timezone', 'datestyle') OR %s OR pg_backend_pid() = %s
"""


def open_server(url: URL, *, pinned: bool) -> Engine:
    """An engine whose connections are in autocommit; with ``pinned``, one for the queue's own statements alone.

    Behind a pooler nothing is set, and nothing prepared: before PgBouncer 1.21 the prepared name was met on another
    server connection. ``?prepare_threshold=N`` in the URL says that both may be done all the same, ``none`` that
    nothing may be prepared in any case.
    """
    asked = url.query.get("prepare_threshold")
    never, trusted = asked in ("none", "0"), asked not in (None, "none", "0")
    engine = create_engine(
        url.difference_update_query(["prepare_threshold"]),
        poolclass=NullPool,  # jobrunner.db.pool keeps them, as they were left
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        use_native_hstore=False,  # to look for that type costs each connection a query
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "prepare_threshold": None if never else int(str(asked)) if trusted else PREPARED_AT,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "application_name": "jobrunner",
            "client_encoding": "UTF8",
        },
    )
    wanted = _SESSION | (_PINNED if pinned else _FREE)

    @event.listens_for(engine, "connect")
    def _prepare(connection: psycopg.Connection[Any], record: ConnectionPoolEntry) -> None:
        connection.adapters.register_loader("jsonb", TextLoader)  # json stays: SQLAlchemy's own reflection reads it
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.autocommit = True
        own = connection.info.backend_pid
        with WATCHDOG.guard(connection, CONNECT_TIMEOUT):
            found: Any = connection.execute(_SET, ([*wanted], [*wanted.values()], trusted, own)).fetchone()
        alone = trusted or found[0] == own
        if not alone:
            connection.prepare_threshold = None
        prepares = connection.prepare_threshold is not None
        record.info[OWN] = Own(Transformer(connection), prepares=prepares, guarded=alone)

    @event.listens_for(engine, "handle_error")
    def _dead(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", None) in DEAD_STATES:
            context.is_disconnect = True

    return engine
