"""A steady stream of tasks of mixed priorities, with somebody's old transaction open elsewhere and without."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import psycopg

from jobrunner.bench import tasks
from jobrunner.bench.figure import Figure, Goal, Measured, percentile
from jobrunner.bench.processes import settle, wait_until
from jobrunner.bench.rounds import in_turn
from jobrunner.bench.rows import all_ended, count_open, moments, prove
from jobrunner.bench.stage import Stage
from jobrunner.db.engine import Database
from jobrunner.db.notes import WORK, notify
from jobrunner.queue.task import PRIORITIES
from jobrunner.submission import Request, submit_many

WORKERS = 2
TICK = 0.020  # seconds between two batches of new tasks
WITHIN = 120.0  # seconds in which a backlog must be gone afterwards

Told = dict[str, float]


def snapshot(stage: Stage) -> Measured:
    """Claims and start delays in the second half of each run, and what was left waiting at its end."""
    scale = stage.scale
    measured = Measured()
    mine: list[Told] = []
    other: list[Told] = []
    minutes = 2 * scale.rounds * (scale.seconds + 10) / 60
    title = f"snapshot: {scale.rate} tasks/s for {scale.seconds:g} s, {scale.rounds} rounds with and without"
    with stage.told.steps(f"{title}, {minutes:.0f} minutes", scale.rounds):
        for number in range(scale.rounds):
            ours, bare = in_turn(number, partial(_run, stage, held=True), partial(_run, stage, held=False))
            mine.append(ours)
            other.append(bare)
            measured.did("ours", int(ours["count"]))
            measured.did("bare", int(bare["count"]))
            stage.told.step(f"claim p50 {ours['claim']:.2f} ms, {bare['claim']:.2f} without the old transaction")
    against = "no old transaction"
    for name, key, unit, goal in (
        ("old snapshot: claim p50", "claim", "ms", Goal(1.3)),
        ("old snapshot: start delay p50", "p50", "ms", None),
        ("old snapshot: start delay p99", "p99", "ms", None),
        ("old snapshot: waiting at the end", "backlog", "tasks", Goal(scale.rate / 10, "ours")),
    ):
        values = tuple(told[key] for told in mine), tuple(told[key] for told in other)
        measured.figures.append(Figure(name, unit, *values, against, False, goal))
    return measured


def _run(stage: Stage, *, held: bool) -> Told:
    scratch, scale = stage.scratch, stage.scale
    scratch.clear()
    with ExitStack() as running:
        database = running.enter_context(scratch.database())
        workers = running.enter_context(stage.processes.jobrunner("worker", count=WORKERS))
        (claimer,) = running.enter_context(stage.processes.helper("claimer", task_type=tasks.NOOP))
        settle(workers)
        if held:
            running.enter_context(_old_transaction(scratch.plain))
        began = time.time()
        count = _stream(database, scale.rate, scale.seconds)
        backlog = count_open(database, tasks.NOOP)
        wait_until(lambda: all_ended(database, tasks.NOOP), workers, "the backlog is gone", WITHIN)
        claimer.tell("end")
        looks = claimer.hear()
    prove(database, tasks.NOOP, count)
    half = began + scale.seconds / 2
    claims = [took for at, took, found in looks if at >= half and found] or [took for _, took, _ in looks]
    delays = _delays(database)
    return {
        "count": count,
        "claim": percentile(claims, 50),
        "p50": percentile(delays, 50),
        "p99": percentile(delays, 99),
        "backlog": backlog,
    }


def _old_transaction(conninfo: str) -> Any:
    """A report that has begun to read, and goes on for as long as the block."""
    conn = psycopg.connect(conninfo)
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.execute("SELECT count(*) FROM tasks")
    return conn


def _stream(database: Database, rate: int, seconds: float) -> int:
    """Add tasks at a steady pace; returns how many."""
    made = 0
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        due = int(rate * passed) - made
        if due > 0:
            with database.begin() as conn:
                submit_many(conn, [_request() for _ in range(due)])
            with database.begin() as conn:
                notify(conn, {WORK: ()})
            made += due
        time.sleep(TICK)
    return made


def _request() -> Request:
    return Request(tasks.NOOP, tasks.PAYLOAD, {"priority": random.choice(PRIORITIES)})  # noqa: S311 - no secret


def _delays(database: Database) -> list[float]:
    """Milliseconds from due to started, of the second half."""
    found = moments(database, tasks.NOOP, "run_at", "started_at")
    return [(row.started_at - row.run_at).total_seconds() * 1e3 for row in found[len(found) // 2 :]]
