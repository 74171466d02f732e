"""Drain: no-op ``async`` tasks at the defaults, beside the bare loop, by the clock of the rows."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from jobrunner.bench import tasks
from jobrunner.bench.costs import UNITS, costs
from jobrunner.bench.figure import Figure, Goal, Measured
from jobrunner.bench.fill import fill, tidy
from jobrunner.bench.processes import Started, settle
from jobrunner.bench.rounds import in_turn
from jobrunner.bench.rows import prove
from jobrunner.bench.stage import Stage
from jobrunner.bench.work_off import Told, patience, work_off

BATCH = 100
MANY_WORKERS = 4  # from so many on, more workers than cores are compared with fewer

LABELS = {"worker_cpu": "worker CPU", "server_cpu": "server CPU", "wal": "WAL"}


def drain(stage: Stage) -> Measured:
    """Tasks a second, CPU and WAL for each, with each number of worker processes."""
    scale = stage.scale
    workers = (1,) if stage.scratch.is_sqlite else scale.workers
    measured = Measured()
    mine: dict[int, list[Told]] = defaultdict(list)
    bare: dict[int, list[Told]] = defaultdict(list)
    with stage.told.steps(f"drain: {scale.tasks} tasks, {scale.rounds} rounds", scale.rounds * len(workers)):
        for number in range(scale.rounds):
            for count in workers:
                work = partial(work_off, stage, tasks.NOOP, scale.tasks, count=count)
                ours, other = in_turn(number, work, partial(_bare, stage, count))
                mine[count].append(ours)
                bare[count].append(other)
                measured.did("ours", scale.tasks)
                measured.did("bare", scale.tasks)
                stage.told.step(f"{count} workers: {ours['rate']:.0f} tasks/s, bare {other['rate']:.0f}")
    for count in workers:
        measured.figures += _figures(stage, count, mine[count], bare[count])
    most = max(workers)
    if len(workers) > 1 and most >= MANY_WORKERS:
        measured.figures.append(_crowd(most, mine))
    return measured


def _figures(stage: Stage, count: int, mine: list[Told], bare: list[Told]) -> list[Figure]:
    name = f"drain, {count} worker{'s' * (count > 1)}"
    against = f"bare {'sqlite3' if stage.scratch.is_sqlite else 'psycopg'} loop, batch {BATCH}"
    goal = Goal(0.7 if stage.scratch.is_sqlite else 1.0)
    figures = [Figure(name, "tasks/s", _each(mine, "rate"), _each(bare, "rate"), against, goal=goal)]
    for key, unit in UNITS.items():
        if _each(mine, key) and _each(bare, key):
            label = f"{name}: {LABELS[key]}"
            figures.append(Figure(label, unit, _each(mine, key), _each(bare, key), against, more=False))
    return figures


def _each(rounds: list[Told], key: str) -> tuple[float, ...]:
    return tuple(told[key] for told in rounds if key in told)


def _crowd(most: int, mine: dict[int, list[Told]]) -> Figure:
    fewer = [_each(rounds, "rate") for count, rounds in mine.items() if count != most]
    best = tuple(max(rates) for rates in zip(*fewer, strict=True))
    name = f"drain, {most} workers against fewer"
    return Figure(name, "tasks/s", _each(mine[most], "rate"), best, "the best of fewer workers", goal=Goal(0.9))


def _bare(stage: Stage, count: int) -> Told:
    scratch, wanted = stage.scratch, stage.scale.tasks
    scratch.clear()
    with scratch.database() as database:
        due = fill(database, tasks.NOOP, wanted, delay=0.5 if scratch.is_sqlite else 0.0)
    tidy(scratch)
    module = "bare_file" if scratch.is_sqlite else "bare_drain"
    given = {"task_type": tasks.NOOP, "batch": BATCH, "due": due}
    with stage.processes.helper(module, count, **given) as loops:
        settle(loops)
        before = costs(scratch, loops)
        _go(loops, wanted)
        told = costs(scratch, loops).since(before, wanted)
    with scratch.database() as database:
        return {"rate": wanted / prove(database, tasks.NOOP, wanted), **told}


def _go(loops: list[Started], wanted: int) -> None:
    for one in loops:
        one.tell("go")
    for one in loops:
        one.hear(patience(wanted))
