"""Several writers at once, each with a commit a task: what it costs them that workers are woken."""

from __future__ import annotations

from functools import partial

import psycopg

from jobrunner.bench import tasks
from jobrunner.bench.errors import BenchFailed
from jobrunner.bench.figure import Figure, Goal, Measured
from jobrunner.bench.processes import Started
from jobrunner.bench.rounds import in_turn
from jobrunner.bench.rows import prove_added
from jobrunner.bench.stage import Stage
from jobrunner.db.notes import CHANNEL

WITHIN = 600.0  # seconds for one round


def writers(stage: Stage, measured: Measured) -> Figure:
    """Rows a second of all writers together, with wake-ups and without, in turn. Somebody listens throughout."""
    scale, scratch = stage.scale, stage.scratch
    scratch.clear()
    total = scale.writers * scale.writes
    loud: list[float] = []
    silent: list[float] = []
    title = f"enqueue: {scale.writers} writers, {scale.rounds} rounds"
    with (
        stage.told.steps(title, scale.rounds),
        stage.processes.helper("writer", scale.writers) as started,
        psycopg.connect(scratch.plain, autocommit=True) as hearing,
    ):
        hearing.execute(f"LISTEN {CHANNEL}".encode())
        for number in range(scale.rounds):
            rate = partial(_rate, started, scale.writes)
            mine, other = in_turn(number, partial(rate, wake=True), partial(rate, wake=False))
            loud.append(mine)
            silent.append(other)
            stage.told.step(f"{scale.writers} writers: {mine:.0f} rows/s, {other:.0f} without wake-ups")
        heard = sum(1 for _ in hearing.notifies(timeout=1.0))
    if not heard:
        raise BenchFailed("the writers were to wake workers: no hint was heard")
    with scratch.database() as database:
        prove_added(database, tasks.NOOP, 2 * scale.writers + 2 * scale.rounds * total)
    measured.did("ours", scale.rounds * total)
    measured.did("bare", scale.rounds * total)
    measured.notes.append(f"{scale.rounds * total} tasks of {scale.writers} writers made {heard} wake-ups")
    against = "the same without wake-ups"
    return Figure(f"enqueue, {scale.writers} writers", "rows/s", tuple(loud), tuple(silent), against, goal=Goal(0.95))


def _rate(started: list[Started], count: int, *, wake: bool) -> float:
    for one in started:
        one.tell({"count": count, "wake": wake})
    told = [one.hear(WITHIN) for one in started]
    seconds = max(one["ended"] for one in told) - min(one["began"] for one in told)
    return float(len(started) * count / seconds)
