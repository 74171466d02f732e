"""pending -> running: due, known, not paused, most urgent first."""

from __future__ import annotations

from sqlalchemy import insert

from jobrunner.db.engine import Database
from jobrunner.db.tables import queues
from jobrunner.db.types import db_now
from jobrunner.queue import views
from tests.both_databases.moves import add, change, row, take


def test_strict_priority_then_run_at_then_id_over_all_queues(database: Database) -> None:
    with_order = [
        ("c", 5, -10.0, "q1"),
        ("a", 1, -1.0, "q2"),
        ("d", 5, -10.0, "q2"),
        ("b", 5, -20.0, "q2"),
        ("e", 10, -99.0, "q1"),
    ]
    for name, priority, _, queue in with_order:
        add(database, task_id=name, priority=priority, queue=queue)
    with database.begin() as conn:
        for name, _, since, _ in with_order:
            change(conn, name, run_at=db_now(since if name not in ("c", "d") else -10.0))
    with database.begin() as conn:  # c and d: the very same run_at, so the older id goes first
        same = row(database, "c").run_at
        change(conn, "d", run_at=same)
    assert [task.task_id for task in take(database, 3)] == ["a", "b", "c"]
    assert [task.task_id for task in take(database, 3)] == ["d", "e"]


def test_a_claim_takes_no_more_than_asked(database: Database) -> None:
    for number in range(25):
        add(database, task_id=f"t{number}", priority=number % 10 + 1, queue=f"q{number % 3}")
    taken = [take(database, 7), take(database, 7), take(database, 7), take(database, 7)]
    assert [len(some) for some in taken] == [7, 7, 7, 4]
    assert len({task.task_id for some in taken for task in some}) == 25


def test_only_types_and_queues_that_were_asked_for(database: Database) -> None:
    add(database, "other", task_id="other-type")
    add(database, task_id="other-queue", queue="b")
    add(database, task_id="mine", queue="a")
    assert [task.task_id for task in take(database, queues=["a", "none"])] == ["mine"]
    assert [task.task_id for task in take(database, types=["work", "other"])] == ["other-type", "other-queue"]
    assert take(database, types=[]) == []


def test_a_paused_queue_is_left_alone(database: Database) -> None:
    add(database, task_id="paused", queue="p", priority=1)
    add(database, task_id="free")
    with database.begin() as conn:
        conn.execute(insert(queues).values(name="p", paused_at=db_now()))
    assert [task.task_id for task in take(database)] == ["free"]
    assert take(database, queues=["p"]) == []


def test_the_attempt_is_counted_at_the_claim_and_the_token_is_fresh(database: Database) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    found = row(database, "t")
    assert (task.lease.attempt, found.attempt, found.status) == (1, 1, "running")
    assert (found.token, found.node_id) == (task.lease.token, "node-a")
    assert len(task.lease.token) == 32
    add(database, task_id="u")
    assert take(database)[0].lease.token != task.lease.token


def test_what_expired_is_not_claimed(database: Database) -> None:
    add(database, task_id="late")
    add(database, task_id="fresh")
    with database.begin() as conn:
        change(conn, "late", expires_at=db_now(-1))
        change(conn, "fresh", expires_at=db_now(60))
    assert [task.task_id for task in take(database)] == ["fresh"]


def test_oldest_due_sees_the_longest_wait(database: Database) -> None:
    with database.begin() as conn:
        from jobrunner.queue import store

        store.publish(conn, [{"name": "work", "schema": "{}"}])
    add(database, task_id="a")
    add(database, task_id="b", delay=100.0)
    with database.begin() as conn:
        change(conn, "a", run_at=db_now(-90))
    with database.read() as conn:
        health = views.health(conn)
    assert 89 < health.waiting < 120
    assert health.verdict == "no_node"
