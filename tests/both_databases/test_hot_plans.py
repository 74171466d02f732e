"""Every statement of the hot path finds its rows by an index, whatever the table holds and whenever it was planned.

The plans of the queue's own statements are made at the first use and kept: also one that was made while the queue was
empty, when reading the whole of it was as good as anything. What only looks is planned each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, select

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import tasks
from jobrunner.queue import store, views
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Place, Room
from jobrunner.queue.task import Ending, Lease, LogLine, Outcome, Status, Task
from tests.both_databases.crowds import QUEUES, crowd, empty, vacuum
from tests.both_databases.moves import DONE, LEASE
from tests.both_databases.plans import Plan, Planner, Sent, planner, sent

BATCH = 100
ROOMS = [Room("async", ("work", "more"), BATCH), Room("child", ("other", "data_import"), 4)]
COMPARED = 10 * BATCH  # each of a batch with each would be ten times as many
COUNTED = 5 * 10_000  # each status up to so many, a page each at worst
AGAIN = new_task("work", {}, task_id="again")
HELD = "pk_tasks or ix_tasks_leases"  # where little runs, all that runs is as good
BROKEN = Outcome(Ending.ERROR, error="boom", error_class="ValueError", delay=5.0)


@dataclass(frozen=True)
class World:
    """What the statements are told of a table: the leases of a node, and where the last tasks were taken."""

    running: list[Task]
    places: list[Place]
    ended: str


@dataclass(frozen=True)
class Hot:
    """A statement of the hot path: which index (or one of which) leads it, and how many pages it may touch at most.

    ``looks`` is True for one that a process sends on the connections for looking.
    """

    act: Callable[[Connection, World], Any]
    index: str
    pages: int
    looks: bool = False


HOT: dict[str, Hot] = {
    "claim, full look": Hot(
        lambda conn, _: store.claim_into(conn, "n", ROOMS, queues=None, lease_seconds=LEASE), "ix_tasks_due", 8_000
    ),
    "claim, full look into some queues": Hot(
        lambda conn, _: store.claim_into(conn, "n", ROOMS, queues=QUEUES[:2], lease_seconds=LEASE),
        "ix_tasks_due",
        7_000,
    ),
    "claim, short look": Hot(
        lambda conn, world: store.claim_into(conn, "n", ROOMS, queues=None, lease_seconds=LEASE, after=world.places),
        "ix_tasks_due",
        4_000,
    ),
    "renew": Hot(lambda conn, world: store.renew(conn, _leases(world), LEASE), HELD, 4_000),
    "renew what was lost": Hot(lambda conn, world: store.renew(conn, _strange(world), LEASE), HELD, 1_000),
    "prove": Hot(lambda conn, world: store.holds(conn, world.running[0].lease), HELD, 30),
    "settle what went well": Hot(
        lambda conn, world: store.settle(conn, [(task, DONE) for task in world.running]), HELD, 3_500
    ),
    "settle what failed": Hot(
        lambda conn, world: store.settle(conn, [(task, BROKEN) for task in world.running]), HELD, 4_000
    ),
    "release": Hot(lambda conn, world: store.release(conn, world.running, "its worker stops"), HELD, 4_000),
    "reclaim": Hot(lambda conn, _: store.reclaim(conn, BATCH), "ix_tasks_leases", 4_000),
    "progress": Hot(
        lambda conn, world: store.progress(conn, dict.fromkeys(_leases(world), (0.5, "half"))), HELD, 4_000
    ),
    "logs": Hot(lambda conn, world: store.logs(conn, _lines(conn, world)), HELD, 2_000),
    "expire": Hot(lambda conn, _: store.expire(conn, BATCH), "ix_tasks_expiring", 4_000),
    "prune": Hot(
        lambda conn, _: store.prune_tasks(conn, completed_days=7, failed_days=7, limit=BATCH), "ix_tasks_ended", 2_000
    ),
    "the duties' look": Hot(lambda conn, _: views.due(conn), "ix_tasks_expiring", 50),
    "the page: oldest due": Hot(lambda conn, _: views.oldest_due(conn), "ix_tasks_due", 1_000, looks=True),
    "the page: running": Hot(lambda conn, _: views.running(conn), "ix_tasks_leases", 1_000, looks=True),
    "the page: last ended": Hot(lambda conn, _: views.last_ended(conn), "ix_tasks_ended", 300, looks=True),
    "the page: counts": Hot(lambda conn, _: views.counts(conn), "ix_tasks_due", COUNTED, looks=True),
    "the page: failed": Hot(
        lambda conn, _: views.tasks_page(conn, views.TaskFilter((Status.FAILED,))),
        "ix_tasks_unwell or pk_tasks",
        5_000,
        looks=True,
    ),
    "the page: newest": Hot(lambda conn, _: views.tasks_page(conn), "pk_tasks", 200, looks=True),
    "submit": Hot(lambda conn, _: store.enqueue(conn, new_task("work", {})), "", 60),
    "submit twice": Hot(lambda conn, _: [store.enqueue(conn, AGAIN) for _ in range(2)], "uq_tasks_task_id", 60),
    "one task": Hot(lambda conn, world: views.task(conn, world.ended), "uq_tasks_task_id", 30, looks=True),
    "its status": Hot(lambda conn, world: views.status(conn, world.ended), "uq_tasks_task_id", 30, looks=True),
    "its attempts": Hot(lambda conn, world: views.task_attempts(conn, world.ended), "uq_tasks_task_id", 60, looks=True),
    "its lines": Hot(lambda conn, world: views.task_logs_page(conn, world.ended), "uq_tasks_task_id", 60, looks=True),
}


def _leases(world: World) -> list[Lease]:
    return [task.lease for task in world.running]


def _strange(world: World) -> list[Lease]:
    return [Lease(task.lease.id, "nobody's", 1) for task in world.running]


def _lines(conn: Connection, world: World) -> list[tuple[Lease, LogLine]]:
    line = LogLine(views.now(conn), "info", "a line", {"number": 1})
    return [(lease, line) for lease in _leases(world)]


def _world(database: Database) -> World:
    """A node's tasks, and the places that a claim of this moment would leave."""
    with database.begin() as conn:
        found = select(tasks).where(tasks.c.task_id.like("running-%")).order_by(tasks.c.id.desc()).limit(BATCH)
        running = [
            Task(Lease(row.id, row.token, 1), row.task_id, row.task_type, "{}", row.queue, 5, 0, None, 3, 0, 0, 0)
            for row in conn.execute(found)
        ]
        claimed = store.claim_into(conn, "n", ROOMS, queues=None, lease_seconds=LEASE)
        conn.rollback()
    ended = "ended-51"
    return World(running, claimed.places, ended)


def _complaints(name: str, mode: str, found: list[Plan]) -> list[str]:
    hot = HOT[name]
    told = []
    print(f"{name:40} {mode:30} {[plan.touched for plan in found]}")
    walked = {table for plan in found for table in plan.walked("tasks", "attempts", "task_logs")}
    if walked:
        told.append(f"{name} ({mode}): walks over {sorted(walked)}")
    if hot.index and not any(plan.indexes & set(hot.index.split(" or ")) for plan in found):
        told.append(f"{name} ({mode}): {hot.index} does not serve it, {[sorted(plan.indexes) for plan in found]} do")
    if max(plan.compared for plan in found) > COMPARED:
        told.append(f"{name} ({mode}): compares {[plan.compared for plan in found]} pairs of rows")
    if max(plan.touched for plan in found) > hot.pages:
        told.append(f"{name} ({mode}): touches {[plan.touched for plan in found]} pages of {hot.pages} allowed")
    return told


@contextmanager
def planners(database: Database) -> Iterator[Callable[[str], Planner]]:
    """Who plans the statement of a name as the process that sends it does."""
    with planner(database) as own, planner(database, pinned=False) as looking:
        yield lambda name: looking if HOT[name].looks else own


def _all_sent(database: Database, world: World) -> dict[str, list[Sent]]:
    return {name: sent(database, lambda conn, hot=hot: hot.act(conn, world)) for name, hot in HOT.items()}  # type: ignore[misc]


SMALL = 10_000
# Of what a claim touches, from a small table to a large one. A full look probes 80 heads of lanes in a deeper tree.
GROWTH = {"claim, short look": 1.3, "claim, full look": 1.5, "claim, full look into some queues": 1.5}
CI = 100_000
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("pending", "ended"),
    [
        pytest.param(CI, CI, marks=pytest.mark.ci),
        pytest.param(MILLION, 2 * MILLION, marks=[pytest.mark.long, pytest.mark.timeout(1_200)]),
    ],
)
def test_no_statement_of_the_hot_path_ever_walks(postgres_url: str, pending: int, ended: int) -> None:
    database = open_database(postgres_url, pool_size=4)
    crowd(database, pending=SMALL, ended=SMALL)
    vacuum(database)
    early = _all_sent(database, _world(database))
    with planners(database) as planned:
        small = {name: planned(name).plans(asked)[0].touched for name, asked in early.items() if name in GROWTH}
    empty(database)
    complaints = []
    with planners(database) as planned_early:
        for name, asked in early.items():
            planned_early(name).use(asked)
        crowd(database, pending=pending, ended=ended)
        world = _world(database)
        asked_now = _all_sent(database, world)
        for name, asked in asked_now.items():
            complaints += _complaints(name, "prepared while it was empty", planned_early(name).plans(asked))
    vacuum(database)
    with planners(database) as planned:
        for name, asked in asked_now.items():
            found = planned(name).plans(asked)
            complaints += _complaints(name, "prepared now", found)
            if name in GROWTH and found[0].touched > GROWTH[name] * small[name]:
                complaints.append(f"{name}: touches {found[0].touched} pages, and {small[name]} of {SMALL} tasks")
    database.dispose()
    assert not complaints, "\n".join(complaints)


@pytest.mark.ci
def test_statistics_of_a_drained_queue_mislead_nobody(postgres_url: str) -> None:
    """Analysed while nothing was pending or running, as autovacuum may: no plan may then count on that."""
    database = open_database(postgres_url, pool_size=4)
    crowd(database, pending=SMALL, ended=SMALL)
    early = _all_sent(database, _world(database))
    empty(database)
    crowd(database, pending=0, ended=CI, running=0)
    vacuum(database)
    with planners(database) as planned_early, planners(database) as planned:
        for name, asked in early.items():
            planned_early(name).use(asked)
        crowd(database, pending=CI, ended=0, running=5_000)
        complaints = []
        for name, asked in _all_sent(database, _world(database)).items():
            complaints += _complaints(name, "prepared while it was drained", planned_early(name).plans(asked))
            complaints += _complaints(name, "by stale statistics", planned(name).plans(asked))
    database.dispose()
    assert not complaints, "\n".join(complaints)
