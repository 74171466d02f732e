"""Full tables in seconds: pending in many lanes, some running, more ended, in the shares of a queue in long use."""

from __future__ import annotations

from sqlalchemy import text

from jobrunner.db.engine import Database

TYPES = ("work", "more", "other")
QUEUES = tuple(f"q{number}" for number in range(4))
LANES = 120  # each queue, type and priority
RUNNING = 600
STALE = 200  # of those that run: their lease has run out
EXPIRED = 300  # of those that wait: nobody may begin them any more

_COLUMNS = "task_id, task_type, payload, request_hash, queue, priority, run_at, expires_at, status, attempt, created_at"
_LANE = (
    "(ARRAY['work', 'more', 'other'])[1 + n % :lanes % 3], '{}', md5(n::text), 'q' || n % :lanes / 3 % 4,"
    " 1 + n % :lanes / 12 % 10"
)
_NOW = "statement_timestamp()"

# A tenth is due tomorrow; one in twenty may expire one day.
_PENDING = f"""
INSERT INTO tasks ({_COLUMNS})
SELECT 'pending-' || n, {_LANE},
       {_NOW} + CASE WHEN n % 10 = 7 THEN interval '1 day' ELSE make_interval(secs => -60 - n % 600) END,
       CASE WHEN n <= :expired THEN {_NOW} - interval '1 second' WHEN n % 20 = 3 THEN {_NOW} + interval '1 hour' END,
       'pending', 0, {_NOW}
FROM generate_series(1, :count) AS n
"""

_RUNNING = f"""
INSERT INTO tasks ({_COLUMNS}, token, lease_until, node_id, started_at, cancel_requested_at)
SELECT 'running-' || n, {_LANE}, {_NOW}, NULL, 'running', 1, {_NOW}, md5((n % 6)::text),
       {_NOW} + make_interval(secs => CASE WHEN n <= :stale THEN -5 ELSE 30 END), 'node-' || n % 6, {_NOW},
       CASE WHEN n % 50 = 0 THEN {_NOW} END
FROM generate_series(1, :count) AS n
"""

# What went well stays for a week and is past it at the rim; one in fifty failed, and stays for a month.
_ENDED = f"""
INSERT INTO tasks ({_COLUMNS}, started_at, finished_at, error)
SELECT 'ended-' || n, {_LANE}, {_NOW} - interval '8 days', NULL,
       CASE WHEN n % 50 = 1 THEN 'failed' WHEN n % 100 = 2 THEN 'cancelled' ELSE 'completed' END, 1,
       {_NOW} - interval '8 days', {_NOW} - interval '8 days',
       {_NOW} - interval '7.2 days' * n / :count, CASE WHEN n % 50 = 1 THEN 'ValueError' END
FROM generate_series(1, :count) AS n
"""

_LEFT = f"""
INSERT INTO attempts (task, attempt, generation, outcome, ended_at)
SELECT id, 1, 0, 'error', {_NOW} FROM tasks WHERE status = 'failed'
"""

_SAID = f"""
INSERT INTO task_logs (task, attempt, at, level, message)
SELECT id, 1, {_NOW}, 'info', 'a line' FROM tasks WHERE id % 20 = 0 AND status NOT IN ('pending', 'running')
"""


def crowd(database: Database, *, pending: int, ended: int, running: int = RUNNING, lanes: int = LANES) -> None:
    """Fill an empty PostgreSQL database; nothing of it is analysed. ``lanes`` are of three types and four queues."""
    with database.begin(deadline=600.0) as conn:
        conn.execute(text(_ENDED), {"count": ended, "lanes": lanes})
        conn.execute(text(_PENDING), {"count": pending, "lanes": lanes, "expired": EXPIRED})
        conn.execute(text(_RUNNING), {"count": running, "lanes": lanes, "stale": STALE})
        if ended:
            conn.execute(text(_LEFT))
            conn.execute(text(_SAID))
        for name in ("work", "more", "other"):
            told = "INSERT INTO task_types (name, schema, published_at) VALUES (:name, '{}', statement_timestamp())"
            conn.execute(text(f"{told} ON CONFLICT DO NOTHING"), {"name": name})


def empty(database: Database) -> None:
    """Make it as a queue is that was drained and then vacuumed: the planner is told that there are no tasks.

    From here on autovacuum does not come, which would have all statements planned anew.
    """
    with database.begin(deadline=60.0) as conn:
        conn.execute(text("TRUNCATE tasks CASCADE"))
        conn.execute(text("ALTER TABLE tasks SET (autovacuum_enabled = off)"))
    vacuum(database)


def vacuum(database: Database) -> None:
    """What autovacuum does in time."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for table in ("tasks", "attempts", "task_logs"):
            conn.exec_driver_sql(f"VACUUM ANALYZE {table}")
