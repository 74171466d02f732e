"""A transaction that somebody holds open, and deletions on the way: what claims and settles does not feel them.

As long as any snapshot is older, every task that went through leaves its entries behind in the indexes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store, views
from jobrunner.queue.store import Claimed, Room
from tests.both_databases.crowds import crowd
from tests.both_databases.moves import BROKEN, DONE, LEASE
from tests.both_databases.plans import planner, sent

ROOMS = [Room("async", ("work", "more", "other"), 100)]
BATCH = 500
GROWTH = {"short look": 1.3, "settle": 2.0, "renew": 2.0}  # the latter write into indexes that grow a level deeper


def _claim(conn: Connection, count: int, after: Claimed | None = None) -> Claimed:
    rooms = [Room("async", ROOMS[0].types, count)]
    places = None if after is None else after.places
    return store.claim_into(conn, "n", rooms, queues=None, lease_seconds=LEASE, after=places)


@contextmanager
def _snapshot(database: Database) -> Iterator[None]:
    """Somebody's report: it looked at the tasks once, and goes on."""
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin():
        conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        conn.exec_driver_sql("SELECT count(*) FROM tasks")
        yield


def _drain(database: Database, count: int, last: Claimed) -> Claimed:
    """Let so many go through: claimed by short looks as far as they reach, and settled."""
    gone = 0
    while gone < count:
        with database.single() as conn:
            found = _claim(conn, BATCH, last)
        if not found.tasks:
            with database.single() as conn:
                found = _claim(conn, BATCH)
        with database.single() as conn:
            store.settle(conn, [(task, DONE) for task in found.tasks])
        gone += len(found.tasks)
        last = found
    return last


@pytest.mark.parametrize("count", [20_000, pytest.param(50_000, marks=pytest.mark.long)])
def test_what_went_through_under_an_old_snapshot_costs_the_next_claim_nothing(postgres_url: str, count: int) -> None:
    database = open_database(postgres_url, pool_size=4)
    crowd(database, pending=2 * count, ended=count, lanes=1)
    with database.single() as conn:
        held = _claim(conn, 100)
    with _snapshot(database), planner(database) as plan:

        def touched(after: Claimed) -> dict[str, int]:
            asked = {
                "short look": sent(database, lambda conn: _claim(conn, 100, after)),
                "full look": sent(database, lambda conn: _claim(conn, 100)),
                "settle": sent(database, lambda conn: store.settle(conn, [(task, DONE) for task in held.tasks])),
                "renew": sent(database, lambda conn: store.renew(conn, [task.lease for task in held.tasks], LEASE)),
            }
            return {name: sum(one.touched for one in plan.plans(found)) for name, found in asked.items()}

        before = touched(_drain(database, BATCH, held))
        after = touched(_drain(database, count, held))
    database.dispose()
    print(f"FIGURE pages touched under an old snapshot, at first {before}, after {count} tasks {after}")
    grown = {name: round(after[name] / before[name], 2) for name in before}
    assert grown["full look"] > 5, "nothing was left behind: the test means nothing"
    assert all(grown[name] <= most for name, most in GROWTH.items()), grown


def test_leases_that_were_given_up_under_an_old_snapshot_cost_the_duties_one_look(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=4)
    crowd(database, pending=15_000, ended=0, lanes=1)
    with database.begin() as conn:
        assert store.reclaim(conn, 1_000)
        assert store.expire(conn, 1_000)
    with _snapshot(database), planner(database) as plan:

        def touched(since: datetime | None = None) -> int:
            return sum(one.touched for one in plan.plans(sent(database, lambda conn: views.due(conn, since))))

        before = touched()
        for _ in range(20):
            with database.single() as conn:
                found = store.claim_into(
                    conn, "n", [Room("async", ROOMS[0].types, BATCH)], queues=None, lease_seconds=0
                )
                store.settle(conn, [(task, DONE) for task in found.tasks])
        with database.read() as conn:
            clear_until = views.due(conn).now
        full, short = touched(), touched(clear_until)
    database.dispose()
    print(f"FIGURE pages touched by the duties' look: {before}, after 10,000 tasks {full}, in a short one {short}")
    assert full > 5 * before, "nothing was left behind: the test means nothing"
    assert short <= before + 2  # each of two indexes may have grown a level deeper


def test_nobody_waits_for_a_batch_that_is_pruned(postgres_url: str) -> None:
    """While it is uncommitted, which is as slow as a batch can be. A second sweep takes the next ones."""
    database = open_database(postgres_url, pool_size=4)
    crowd(database, pending=1_000, ended=20_000)
    days: dict[str, Any] = {"completed_days": 7, "failed_days": 7, "limit": 200}
    with database.begin() as pruning:
        assert store.prune_tasks(pruning, **days) == 200
        with database.begin() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            claimed = _claim(conn, 20).tasks
            assert len(claimed) == 20
            assert store.renew(conn, [task.lease for task in claimed], LEASE).lost == frozenset()
            ends = [(task, DONE if number % 2 else BROKEN) for number, task in enumerate(claimed)]
            assert all(one.accepted for one in store.settle(conn, ends))
            assert store.reclaim(conn, 50)
            assert store.expire(conn, 50) == 50
            assert store.prune_tasks(conn, **days) == 200
        here = "datname = current_database() AND wait_event_type = 'Lock'"
        waiting = pruning.execute(text(f"SELECT count(*) FROM pg_stat_activity WHERE {here}")).scalar_one()
    with database.read() as conn:
        gone = 20_000 - conn.execute(text("SELECT count(*) FROM tasks WHERE task_id LIKE 'ended-%'")).scalar_one()
    database.dispose()
    assert (waiting, gone) == (0, 400)


def test_a_batch_is_pruned_while_claims_are_uncommitted(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=4)
    crowd(database, pending=1_000, ended=20_000)
    with database.begin() as claiming:
        taken = {task.task_id for task in _claim(claiming, 100).tasks}
        store.settle(claiming, [(task, DONE) for task in _claim(claiming, 100).tasks])
        with database.begin() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            assert store.prune_tasks(conn, completed_days=7, failed_days=7, limit=500) == 500
            others = {task.task_id for task in _claim(conn, 100).tasks}
            assert len(others) == 100
            assert not others & taken
    database.dispose()
