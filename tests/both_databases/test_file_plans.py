"""On SQLite, too, no statement of the hot path goes through the table of tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store, views
from jobrunner.queue.store import Room
from jobrunner.queue.task import LogLine, Task
from tests.both_databases.moves import DONE, LEASE, add, take

ROOMS = [Room("async", ("work",), 5)]
HOT: dict[str, Callable[[Connection, list[Task]], Any]] = {
    "full look": lambda conn, _: store.claim_into(conn, "n", ROOMS, queues=None, lease_seconds=LEASE),
    "short look": lambda conn, _: store.claim_into(
        conn,
        "n",
        ROOMS,
        queues=None,
        lease_seconds=LEASE,
        after=store.claim_into(conn, "n", ROOMS, queues=None, lease_seconds=LEASE).places,
    ),
    "settle": lambda conn, held: store.settle(conn, [(task, DONE) for task in held]),
    "renew": lambda conn, held: store.renew(conn, [task.lease for task in held], LEASE),
    "release": lambda conn, held: store.release(conn, held, "it stops"),
    "reclaim": lambda conn, _: store.reclaim(conn),
    "progress": lambda conn, held: store.progress(conn, {held[0].lease: (0.5, "half")}),
    "logs": lambda conn, held: store.logs(conn, [(held[0].lease, LogLine(views.now(conn), "info", "a line"))]),
    "expire": lambda conn, _: store.expire(conn),
    "prune": lambda conn, _: store.prune_tasks(conn, completed_days=7, failed_days=30),
}


@pytest.fixture
def database(sqlite_url: str) -> Any:
    opened = open_database(sqlite_url)
    for _ in range(12):
        add(opened)
    yield opened
    opened.dispose()


@pytest.mark.parametrize("name", HOT)
def test_no_statement_goes_through_all_tasks(database: Database, name: str) -> None:
    held = take(database, 2)
    asked: list[tuple[str, Any]] = []

    def keep(_conn: Any, _cursor: Any, statement: str, given: Any, *_rest: Any) -> None:
        asked.append((statement, given))

    with database.begin() as conn:
        event.listen(database.engine, "before_cursor_execute", keep)
        HOT[name](conn, held)
        event.remove(database.engine, "before_cursor_execute", keep)
        plans = [
            str(row[-1]) for text, given in asked for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given)
        ]
    assert any("tasks" in plan for plan in plans), "nothing was asked of the table"
    assert [plan for plan in plans if plan.startswith("SCAN tasks") and "INDEX" not in plan] == []
