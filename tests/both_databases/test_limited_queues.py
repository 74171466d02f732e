"""Queues that limit how many of their tasks run at a time: never one more, whoever claims at once; nothing starves."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import tasks
from jobrunner.node.looking import Lookout, Source
from jobrunner.queue import store, views
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Room
from jobrunner.queue.task import Task
from tests.both_databases.crowds import crowd, vacuum
from tests.both_databases.moves import LEASE, add, end, take
from tests.both_databases.plans import planner, sent

TYPES = ("work", "more")


def limit(database: Database, **most: int | None) -> None:
    with database.begin() as conn:
        for name, number in most.items():
            store.limit_queue(conn, name, max_running=number)


def within(database: Database, wanted: int = 10, *, queues: Any = None, node: str = "n") -> list[Task]:
    rooms = [Room("a", TYPES[:1], wanted), Room("b", TYPES[1:], wanted)]
    with database.begin() as conn:
        return store.claim_within(conn, node, rooms, queues=queues, lease_seconds=LEASE).tasks


def names(found: list[Task]) -> list[str]:
    return [task.task_id for task in found]


def test_no_more_run_than_the_limit_says_whatever_their_lanes(database: Database) -> None:
    for number in range(12):
        add(database, TYPES[number % 2], task_id=f"t{number}", queue="few", priority=1 + number % 5)
    add(database, task_id="other")
    limit(database, few=3)
    assert names(take(database, types=TYPES)) == ["other"]
    first = within(database)
    assert names(first) == ["t0", "t5", "t10"], "the most urgent ones, of both kinds together"
    assert within(database) == []
    assert end(database, first[0])
    assert names(within(database)) == ["t1"]
    limit(database, few=None)
    assert len(take(database, types=TYPES)) == 8


def test_the_order_is_the_same_over_all_queues(database: Database) -> None:
    add(database, task_id="second", queue="few", priority=4)
    add(database, task_id="third", priority=6)
    add(database, task_id="first", priority=2)
    limit(database, few=1)
    assert names(within(database, 2)) == ["first", "second"]


def test_a_full_or_paused_queue_keeps_nothing_of_others_back(database: Database) -> None:
    for number in range(30):
        add(database, task_id=f"few{number}", queue="few", priority=1)
        add(database, task_id=f"paused{number}", queue="paused", priority=1)
    add(database, task_id="free", priority=9)
    limit(database, few=2, paused=5)
    with database.begin() as conn:
        store.pause_queue(conn, "paused", by="test")
    assert names(within(database)) == ["few0", "few1", "free"]


def test_what_waits_for_a_place_in_its_queue_is_not_late(database: Database) -> None:
    with database.begin() as conn:
        store.publish(conn, [{"name": "work", "schema": "{}"}])
    for number in range(2):
        add(database, task_id=f"t{number}", queue="few")
    limit(database, few=1)
    with database.read() as conn:
        assert views.oldest_due(conn) is not None
    within(database)
    with database.read() as conn:
        assert views.oldest_due(conn) is None


def test_only_queues_that_are_listened_to_are_taken_from(database: Database) -> None:
    for name in ("few", "more few", "free"):
        add(database, task_id=name, queue=name)
    limit(database, **{"few": 1, "more few": 1})
    with database.begin() as conn:
        assert store.limited_queues(conn, ["few", "free"]) == {"few"}
        assert store.limited_queues(conn, None) == {"few", "more few"}
    assert names(within(database, queues=["few", "free"])) == ["few", "free"]


def test_a_lookout_hears_of_a_limit_and_never_waits_for_the_rest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobrunner.node.looking.LIMITS_EVERY", 0.0)
    for number in range(4):
        add(database, task_id=f"t{number}", priority=number + 1, queue="few")
    limit(database, few=2)
    lookout = Lookout(database, Source("n", None, LEASE))
    found = lookout.look([Room("a", TYPES, 5)], everywhere=True)
    assert (names(found.tasks), found.dry) == (["t0", "t1"], frozenset()), "there may be more of other queues"
    assert lookout.look([Room("a", TYPES, 3)], everywhere=True).dry == {"a"}
    assert lookout.limited == {"few"}
    limit(database, few=None)
    assert names(lookout.look([Room("a", TYPES, 3)], everywhere=True).tasks) == ["t2", "t3"]


def test_many_claimers_at_once_never_exceed_a_limit(postgres_url: str) -> None:
    """Each looks at once after its claim: what runs then, here and elsewhere, is within the limit."""
    database = open_database(postgres_url, pool_size=8)
    limit(database, few=3, one=1)
    with database.begin() as conn:
        made = [
            new_task(TYPES[n % 2], task_id=f"{queue}{n}", queue=queue, priority=n % 3 + 1)
            for n in range(30)
            for queue in ("few", "one", "free")
        ]
        store.enqueue_many(conn, made)
    claimed: Counter[str] = Counter()
    most: Counter[str] = Counter()
    start = threading.Barrier(4)

    def work(seed: int) -> None:
        chance, empty = random.Random(seed), 0
        start.wait()
        while empty < 20:
            found = within(database, chance.randint(1, 5), node=f"n{seed}")
            with database.read() as conn:
                running = select(tasks.c.queue, func.count()).where(tasks.c.status == "running")
                counts = {row[0]: row[1] for row in conn.execute(running.group_by(tasks.c.queue))}
            for name, count in counts.items():
                most[name] = max(most[name], count)
            empty = 0 if found else empty + 1
            for task in found:
                claimed[task.task_id] += 1
                end(database, task)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, seed) for seed in range(4)]:
            done.result(timeout=60)
    assert claimed == Counter(dict.fromkeys((task.task_id for task in made), 1)), "all of them, and none twice"
    assert most["one"] == 1
    assert most["few"] == 3, "the limit was reached and never passed"
    database.dispose()


def test_who_finds_a_queue_taken_by_another_claimer_waits_for_nothing(postgres_url: str) -> None:
    database = open_database(postgres_url)
    limit(database, few=5)
    for name in ("few", "free"):
        add(database, task_id=name, queue=name)
    with database.begin() as conn:
        rooms = [Room("a", TYPES, 0)]
        store.claim_within(conn, "slow", rooms, queues=None, lease_seconds=LEASE)
        assert names(within(database)) == ["free"]
    assert names(within(database)) == ["few"]
    database.dispose()


def test_a_claim_from_a_limited_queue_walks_over_nothing(postgres_url: str) -> None:
    database = open_database(postgres_url)
    crowd(database, pending=20_000, ended=20_000, lanes=12)
    vacuum(database)
    limit(database, q0=700, q1=5)
    rooms = [Room("a", ("work", "more"), 50)]
    asked = sent(
        database, lambda conn: store.claim_within(conn, "n", rooms, queues=["q0", "q1", "q2"], lease_seconds=LEASE)
    )
    with planner(database) as plan:
        plans = plan.plans(asked)
    print("pages touched", [one.touched for one in plans])
    assert len(plans) == 3
    assert not {table for one in plans for table in one.walked("tasks")}
    assert plans[1].indexes == {"ix_tasks_leases"}
    assert "ix_tasks_due" in plans[2].indexes
    assert plans[2].touched < 3_000
    database.dispose()
