"""Several at once. Threads on both databases; processes and real lock waits where there are any: on PostgreSQL."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, text

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import attempts, tasks
from jobrunner.queue import store, views
from jobrunner.queue.request import new_task
from jobrunner.queue.task import Status
from tests.both_databases.moves import DONE, LEASE, add, age_lease, end, left, reclaim, row, take


def test_threads_share_the_work_without_a_double(database: Database) -> None:
    with database.begin() as conn:
        store.enqueue_many(conn, [new_task("work", task_id=f"t{n}", priority=n % 10 + 1) for n in range(300)])
    claimed: list[str] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while found := take(database, chance.randint(1, 7), node=f"n{seed}"):
            claimed.extend(task.task_id for task in found)
            for task in found:
                assert end(database, task) is Status.COMPLETED

    _together(*[lambda seed=seed: work(seed) for seed in range(6)])
    assert Counter(claimed) == Counter({f"t{n}": 1 for n in range(300)})


def test_crashes_oversleeping_and_sweeps_lose_nothing_and_complete_nothing_twice(database: Database) -> None:
    with database.begin() as conn:
        store.enqueue_many(conn, [new_task("work", task_id=f"t{n}") for n in range(120)])
    completed: Counter[str] = Counter()
    refused: list[str] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        empty = 0
        while empty < 20:
            found = take(database, chance.randint(1, 4), node=f"n{seed}")
            empty = 0 if found else empty + 1
            for task in found:
                fate = chance.random()
                if fate < 0.15:  # dies
                    age_lease(database, task.task_id, 1)
                    continue
                if fate < 0.3:  # oversleeps, and is swept meanwhile
                    age_lease(database, task.task_id, 1)
                    reclaim(database)
                if end(database, task) is Status.COMPLETED:
                    completed[task.task_id] += 1
                else:
                    refused.append(task.task_id)
            reclaim(database)
            time.sleep(0.001)

    _together(*[lambda seed=seed: work(seed) for seed in range(6)])
    assert sorted(completed) == sorted(f"t{n}" for n in range(120))
    assert set(completed.values()) == {1}
    with database.read() as conn:
        ran = conn.execute(select(func.sum(tasks.c.attempt))).scalar_one()
        told = conn.execute(select(func.count()).select_from(attempts)).scalar_one()
    assert ran == told + 120, "every extra run has its row"
    assert refused, "the test means nothing unless somebody was late"


def test_one_of_many_equal_requests_makes_the_task(database: Database) -> None:
    answers: list[bool] = []

    def ask() -> None:
        answers.append(add(database, task_id="same", payload={"x": 1}).created)

    _together(*[ask] * 8)
    assert sorted(answers) == [False] * 7 + [True]


def test_one_open_task_per_unique_key_whoever_asks(database: Database) -> None:
    made: list[str] = []

    def ask() -> None:
        made.append(add(database, unique_key="k").task_id)

    _together(*[ask] * 8)
    assert len(set(made)) == 1


@pytest.mark.parametrize("first", ["settle", "reclaim"])
def test_settle_against_reclaim_with_a_real_lock_wait(postgres_url: str, first: str) -> None:
    """The second of the two meets the row locked by the first: exactly one of them moves the task."""
    database = open_database(postgres_url)
    add(database, task_id="t")
    task = take(database)[0]
    age_lease(database, "t", 1)
    moves: dict[str, Callable[[Any], Any]] = {
        "settle": lambda conn: store.settle(conn, [(task, DONE)])[0].status,
        "reclaim": lambda conn: [one.task_id for one in store.reclaim(conn)],
    }
    second = "reclaim" if first == "settle" else "settle"
    with ThreadPoolExecutor(1) as pool, database.begin() as conn:
        won = moves[first](conn)
        waiting = pool.submit(_in_own_transaction, database, moves[second])
        if second == "settle":
            _wait_for_a_lock_wait(database)
        else:
            assert waiting.result(timeout=30) == [], "a sweep never waits for a row: it skips it"
        conn.commit()
        lost = waiting.result(timeout=30)
    if first == "settle":
        assert (won, lost, row(database, "t").status) == (Status.COMPLETED, [], "completed")
        assert reclaim(database) == []
    else:
        assert (won, lost, row(database, "t").status) == (["t"], None, "pending")
        assert [one.outcome for one in left(database, "t")] == ["lost"]
    database.dispose()


@pytest.mark.parametrize("first", ["settle", "reclaim"])
def test_a_batch_that_is_settled_against_a_sweep_that_takes_half_of_it(postgres_url: str, first: str) -> None:
    """Of two hundred outcomes in one statement, just those whose lease is gone are refused."""
    database = open_database(postgres_url)
    with database.begin() as conn:
        store.enqueue_many(conn, [new_task("work", task_id=f"t{n}") for n in range(200)])
    batch = take(database, 200)
    for task in batch[:100]:
        age_lease(database, task.task_id, 1)
    stale = {task.task_id for task in batch[:100]}

    def settle(conn: Any) -> list[bool]:
        return [one.accepted for one in store.settle(conn, [(task, DONE) for task in batch])]

    with ThreadPoolExecutor(1) as pool, database.begin() as conn:
        if first == "settle":
            assert settle(conn) == [True] * 200
            assert pool.submit(reclaim, database).result(timeout=30) == [], "a sweep never waits: it skips the rows"
        else:
            assert {one.task_id for one in store.reclaim(conn)} == stale
            waiting = pool.submit(_in_own_transaction, database, settle)
            _wait_for_a_lock_wait(database)
        conn.commit()
        if first == "reclaim":
            assert waiting.result(timeout=30) == [False] * 100 + [True] * 100
    assert reclaim(database) == []
    with database.read() as conn:
        counts = views.counts(conn)
        told = conn.execute(select(attempts.c.outcome, func.count()).group_by(attempts.c.outcome)).all()
    if first == "settle":
        assert (counts[Status.COMPLETED], told) == (200, [])
    else:
        assert (counts[Status.COMPLETED], counts[Status.PENDING], told) == (100, 100, [("lost", 100)])
    database.dispose()


def test_a_locked_row_is_unknown_and_holds_up_no_other_renewal(postgres_url: str) -> None:
    database = open_database(postgres_url)
    for name in ("locked", "free"):
        add(database, task_id=name)
    held = {task.task_id: task for task in take(database)}
    with database.begin() as conn:
        conn.execute(text("SELECT 1 FROM tasks WHERE task_id = 'locked' FOR UPDATE"))
        with database.begin(deadline=3.0) as other:
            told = store.renew(other, [task.lease for task in held.values()], LEASE)
    assert told.renewed == {held["free"].lease}
    assert told.lost == frozenset(), "locked is unknown, never lost"
    database.dispose()


def test_an_effect_keeps_the_row_until_its_commit(postgres_url: str) -> None:
    """``holds`` is last before COMMIT: a sweep between the two would make two attempts write."""
    database = open_database(postgres_url)
    add(database, task_id="t")
    task = take(database)[0]
    age_lease(database, "t", 1)
    with database.begin() as conn:
        assert store.holds(conn, task.lease)
        assert reclaim(database) == []
    assert reclaim(database) == ["t"]
    with database.begin() as conn:
        assert not store.holds(conn, task.lease)
    database.dispose()


def _drain(url: str, node: str, report: Any) -> None:
    database = open_database(url)
    done = 0
    while found := take(database, 5, node=node):
        done += sum(end(database, task) is Status.COMPLETED for task in found)
    database.dispose()
    report.put(done)


def test_processes_share_the_work_without_a_double(postgres_url: str) -> None:
    database = open_database(postgres_url)
    with database.begin() as conn:
        store.enqueue_many(conn, [new_task("work") for _ in range(400)])
    spawn = multiprocessing.get_context("spawn")
    report = spawn.Queue()
    workers = [spawn.Process(target=_drain, args=(postgres_url, f"n{n}", report)) for n in range(3)]
    for worker in workers:
        worker.start()
    counts = [report.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=10)
    assert sum(counts) == 400
    with database.read() as conn:
        assert views.counts(conn)[Status.COMPLETED] == 400
        assert conn.execute(select(func.max(tasks.c.attempt))).scalar_one() == 1
    database.dispose()


def _in_own_transaction(database: Database, move: Callable[[Any], Any]) -> Any:
    with database.begin() as conn:
        return move(conn)


def _wait_for_a_lock_wait(database: Database) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with database.begin() as conn:
            waiting = conn.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()
        if waiting:
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


def _together(*acts: Callable[[], None]) -> None:
    """Run these at the same moment, each in a thread; the first exception is raised here."""
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], None]) -> None:
        start.wait()
        act()

    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(run, act) for act in acts]:
            done.result(timeout=60)
