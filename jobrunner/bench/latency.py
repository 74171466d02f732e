"""Start latency and round trip of an idle worker, beside the shortest way that the database allows.

Both workers idle at the same time, on task types of their own; samples alternate one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg

from jobrunner.bench import latency_file, tasks
from jobrunner.bench.figure import Goal, Measured
from jobrunner.bench.processes import settle, wait_until
from jobrunner.bench.rows import all_ended, results
from jobrunner.bench.samples import MS, WARM, alternate, percentiles
from jobrunner.bench.senders import OpenLocal, Sender, inserting, rest, there_and_back, through
from jobrunner.bench.stage import Stage

BARE_WAY = "insert + notify, claim, handler"
WITHIN = 30.0  # seconds for one sample


def latency(stage: Stage) -> Measured:
    """From the moment before a submit to the handler's first line; on SQLite from the row's ``created_at``."""
    if stage.scratch.is_sqlite:
        return latency_file.latency(stage)
    mine: list[tuple[str, int]] = []
    other: list[tuple[str, int]] = []
    with _idle_pair(stage) as (desk, bare):
        ours = through(desk)
        alternate(stage, "start latency", lambda: mine.append(ours()), lambda: other.append(bare()))
    goals = {50: Goal(1.2), 99: Goal(2.0)}
    values = _until_begun(stage, tasks.STAMP, mine), _until_begun(stage, tasks.BARE, other)
    figures = percentiles(stage, "start latency", *values, goals, BARE_WAY)
    return Measured(figures, {"ours": len(values[0]), "bare": len(values[1])})


def roundtrip(stage: Stage) -> Measured:
    """From the moment before a submit until the result is in the caller's hands, beside the bare start latency."""
    if stage.scratch.is_sqlite:
        return latency_file.roundtrip(stage)
    mine: list[float] = []
    other: list[tuple[str, int]] = []
    with _idle_pair(stage) as (desk, bare):
        alternate(
            stage,
            "round trip",
            lambda: mine.append(there_and_back(desk, WITHIN) * MS),
            lambda: other.append(bare()),
        )
    values = _until_begun(stage, tasks.BARE, other)
    goals = {50: Goal(2.0)}
    figures = percentiles(stage, "round trip", mine, values, goals, f"start latency: {BARE_WAY}")
    return Measured(figures, {"ours": len(mine), "bare": len(values)})


@contextmanager
def _idle_pair(stage: Stage) -> Iterator[tuple[OpenLocal, Sender]]:
    """An idle worker and an idle bare listener: an open desk for the one, a sender for the other."""
    scratch = stage.scratch
    scratch.clear()
    with (
        stage.processes.jobrunner("worker") as workers,
        stage.processes.helper("bare_listen", channel=scratch.schema, task_type=tasks.BARE) as listeners,
        psycopg.connect(scratch.plain, autocommit=True) as conn,
    ):
        both = [*workers, *listeners]
        settle(both)
        desk = OpenLocal(scratch.url, handlers=(tasks.MODULE,))
        try:
            ours, bare = through(desk), inserting(conn, scratch.schema)
            for _ in range(WARM):
                ours()
                bare()
                rest()
            yield desk, bare
        finally:
            desk.close()
        with scratch.database() as database:
            for kind in (tasks.STAMP, tasks.BARE):
                wait_until(partial(all_ended, database, kind), both, f"every {kind} ends", WITHIN)


def _until_begun(stage: Stage, task_type: str, sent: Sequence[tuple[str, int]]) -> list[float]:
    """Milliseconds from each sending to the handler's first line."""
    with stage.scratch.database() as database:
        told = results(database, task_type)
    return [(told[task_id]["at"] - began) * MS for task_id, began in sent]
