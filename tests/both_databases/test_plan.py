"""A claim reads only the heads of lanes, whatever else waits: a million rows of each kind that it cannot take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import queues
from jobrunner.db.types import db_now
from jobrunner.queue import store, views
from tests.both_databases.moves import add, take
from tests.both_databases.plans import Plan, planner, sent

MILLION = 1_000_000
BUFFERS = 1_500  # a claim of 10 touches about 400; a walk over a million rows touches 30,000 and more

FILL = """
INSERT INTO tasks (task_id, task_type, payload, request_hash, queue, priority, run_at, status, created_at)
SELECT :name || n, :task_type, '{}', '', :queue, :priority, statement_timestamp() + make_interval(secs => :due),
       'pending', statement_timestamp()
FROM generate_series(1, :count) AS n
"""


def _fill(database: Database, count: int, **row: Any) -> None:
    with database.begin(deadline=120.0) as conn:
        conn.execute(text(FILL), {"count": count, **row})


def _crowd(database: Database, count: int) -> None:
    _fill(database, count, name="tomorrow", task_type="work", queue="default", priority=1, due=86_400.0)
    _fill(database, count, name="paused", task_type="work", queue="paused", priority=1, due=-60.0)
    _fill(database, count, name="elsewhere", task_type="work", queue="elsewhere", priority=1, due=-60.0)
    _fill(database, count, name="unknown", task_type="unknown", queue="default", priority=1, due=-60.0)
    with database.begin(deadline=120.0) as conn:
        conn.execute(insert(queues).values(name="paused", paused_at=db_now()))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM ANALYZE tasks")


def _claim_plan(database: Database) -> Plan:
    return _plan(
        database,
        lambda conn: store.claim(
            conn, "n", types=["work", "more"], queues=["default", "more"], limit=10, lease_seconds=30.0
        ),
    )


def _plan(database: Database, ask: Callable[[Connection], object]) -> Plan:
    with planner(database) as plan:
        return plan.plans(sent(database, ask))[-1]


@pytest.mark.parametrize("count", [50_000, pytest.param(MILLION, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_a_claim_never_walks_over_what_it_cannot_take(postgres_url: str, count: int) -> None:
    database = open_database(postgres_url)
    _crowd(database, count)
    for number in range(30):
        add(database, task_id=f"mine{number}", priority=5 + number % 2)
    plan = _claim_plan(database)
    print(f"{4 * count} waiting: {plan.touched} buffers touched")
    assert "ix_tasks_due" in plan.indexes
    assert not plan.walked("tasks")
    assert plan.touched < BUFFERS
    assert plan.removed < 100
    assert [task.task_id for task in take(database, 2, queues=["default"])] == ["mine0", "mine2"]
    database.dispose()


def test_the_look_of_the_duties_walks_over_nothing(postgres_url: str) -> None:
    database = open_database(postgres_url)
    _crowd(database, 20_000)
    with database.begin(deadline=120.0) as conn:
        conn.exec_driver_sql("UPDATE tasks SET expires_at = run_at + interval '1 year' WHERE queue = 'elsewhere'")
        conn.exec_driver_sql(
            "UPDATE tasks SET status = 'running', token = 't', lease_until = run_at + interval '1 year'"
            " WHERE queue = 'paused'"
        )
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM ANALYZE tasks")
    plan = _plan(database, views.due)
    assert plan.touched < 50
    assert {"ix_tasks_leases", "ix_tasks_expiring"} <= plan.indexes
    database.dispose()


def test_every_queue_is_found_without_a_walk(postgres_url: str) -> None:
    database = open_database(postgres_url)
    _crowd(database, 20_000)
    add(database, task_id="mine", queue="zebra", priority=1)
    seen = [task.task_id for task in take(database, 10, types=["more", "work"])]
    assert len(seen) == 10, "queues that nobody named are listened to"
    assert not any(name.startswith(("paused", "tomorrow", "unknown")) for name in seen)
    database.dispose()
