"""Claims with few tasks waiting, with many, and with many ended besides; and how a worker starts in front of them.

The two tables stand side by side, so that claims on both alternate.
"""

from __future__ import annotations

import time
from functools import partial

from sqlalchemy import Connection

from jobrunner.bench import tasks
from jobrunner.bench.errors import BenchFailed
from jobrunner.bench.explain import buffers
from jobrunner.bench.figure import Figure, Goal, Measured, percentile
from jobrunner.bench.fill import fill, tidy
from jobrunner.bench.rounds import in_turn
from jobrunner.bench.rows import first_moments
from jobrunner.bench.scratch import Scratch
from jobrunner.bench.stage import Stage
from jobrunner.db.engine import Database
from jobrunner.queue import store, views
from jobrunner.queue.task import Ending, Outcome, Task

BATCH = 100
LEASE = 60.0  # seconds
FILLED = 15_000  # rows a second that a fill makes at least, on a busy machine: for saying what is to come
LOOK_ON = 2.0  # seconds in which a started worker ends its first task


def growth(stage: Stage) -> Measured:
    """Buffers touched by a claim of 100, its p50, and the cold start of a worker."""
    scale, scratch = stage.scale, stage.scratch
    scratch.clear()
    measured = Measured()
    rows = scale.many + scale.ended
    stage.told.say(f"growth: {rows:,} rows are filled in, which takes up to {rows / FILLED / 60:.0f} min")
    with stage.told.steps(f"growth: {scale.rounds} rounds", 2 * scale.rounds + 2), scratch.twin() as small:
        with scratch.database() as many, small.database() as few:
            sides = ((scratch, many), (small, few))
            fill(few, tasks.NOOP, scale.few)
            fill(many, tasks.NOOP, scale.many)
            _compare(stage, measured, sides, f"{_short(scale.many)} pending", Goal(1.5))
            fill(many, tasks.NOOP, scale.ended, ended=True)
            _compare(stage, measured, sides, f"{_short(scale.many)} pending, {_short(scale.ended)} ended", Goal(1.7))
        _cold_starts(stage, measured, small)
    return measured


def _compare(
    stage: Stage, measured: Measured, sides: tuple[tuple[Scratch, Database], ...], what: str, goal: Goal
) -> None:
    scale = stage.scale
    against = f"{_short(scale.few)} pending"
    times: list[tuple[float, float]] = []
    touched: list[tuple[int, int]] = []
    for number in range(scale.rounds):
        for scratch, database in sides:
            fill(database, tasks.NOOP, scale.claims * BATCH)  # as many as this round takes
            tidy(scratch)
        (_, many), (_, few) = sides
        if not stage.scratch.is_sqlite:
            touched.append((buffers(many, _claim), buffers(few, _claim)))
        mine: list[float] = []
        other: list[float] = []
        for step in range(scale.claims):
            ours, bare = in_turn(step, partial(_timed, many), partial(_timed, few))
            mine.append(ours)
            other.append(bare)
        times.append((percentile(mine, 50), percentile(other, 50)))
        measured.did("ours", scale.claims * BATCH)
        measured.did("bare", scale.claims * BATCH)
        stage.told.step(f"{what}, round {number + 1}: {times[-1][0]:.2f} ms, {times[-1][1]:.2f} with {against}")
    if touched:
        name = f"claim of {BATCH}, {what}: buffers"
        many_, few_ = zip(*touched, strict=True)
        measured.figures.append(Figure(name, "buffers", many_, few_, against, False, Goal(1.3)))
    many_ms, few_ms = zip(*times, strict=True)
    measured.figures.append(Figure(f"claim of {BATCH}, {what}: p50", "ms", many_ms, few_ms, against, False, goal))


def _claim(conn: Connection) -> list[Task]:
    return store.claim(conn, "bench", types=[tasks.NOOP], queues=None, limit=BATCH, lease_seconds=LEASE)


def _timed(database: Database) -> float:
    """Milliseconds of one claim with its commit; its tasks are completed afterwards."""
    began = time.perf_counter()
    with database.begin() as conn:
        claimed = _claim(conn)
    took = (time.perf_counter() - began) * 1e3
    with database.begin() as conn:
        settled = store.settle(conn, [(task, Outcome(Ending.COMPLETED, result="{}")) for task in claimed])
    if len(claimed) != BATCH or not all(one.accepted for one in settled):
        raise BenchFailed(f"{BATCH} tasks were to be claimed and completed: {len(claimed)} were claimed")
    return took


def _cold_starts(stage: Stage, measured: Measured, small: Scratch) -> None:
    other = _cold_start(stage.on(small))
    stage.told.step("cold start in front of few")
    mine = _cold_start(stage)
    stage.told.step("cold start in front of many")
    against = f"{_short(stage.scale.few)} pending"
    names = ("cold start: node's row", "cold start: first task done")
    for name, ours, bare in zip(names, mine, other, strict=True):
        measured.figures.append(Figure(name, "s", (ours,), (bare,), against, False, Goal(1.0, "ours")))


def _cold_start(stage: Stage) -> tuple[float, float]:
    """Seconds from the start of a worker to its node's row, and to the end of its first task."""
    with stage.scratch.database() as database, database.read() as conn:
        before = views.now(conn)
    with stage.processes.jobrunner("worker"):
        time.sleep(LOOK_ON)
    with stage.scratch.database() as database:
        node, task = first_moments(database)
    return (node - before).total_seconds(), (task - before).total_seconds()


def _short(count: int) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= size and count % size == 0:
            return f"{count // size} {letter}"
    return str(count)
