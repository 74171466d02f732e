"""Enqueue: one by one and many at once, beside the driver's own insert, COPY and ``executemany``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine

import jobrunner
from jobrunner.bench import bare_file, bare_insert, tasks
from jobrunner.bench.figure import Figure, Goal, Measured
from jobrunner.bench.rounds import in_turn
from jobrunner.bench.rows import prove_added
from jobrunner.bench.senders import OpenLocal
from jobrunner.bench.stage import Stage
from jobrunner.bench.writers import writers
from jobrunner.submission import Request, submit_many

IN_ALL = 50_000  # rows of one side of a round: with one call of 10,000 a ratio ranged from 0.45 to 1.06
WARM = 6  # calls that do not count: the driver prepares a statement at its fifth use


@dataclass(frozen=True)
class Way:
    """One line: how jobrunner adds ``rows`` tasks a call, ``calls`` times, and how the bare side does."""

    name: str
    rows: int
    calls: int
    ours: Callable[[], object]
    bare: Callable[[], object]
    against: str
    goal: float


def enqueue(stage: Stage) -> Measured:
    """Rows a second of each way; all that were added are counted."""
    measured = Measured()
    with _ways(stage) as ways:
        with stage.told.steps(
            f"enqueue: {len(ways)} ways, {stage.scale.rounds} rounds", stage.scale.rounds * len(ways)
        ):
            for way in ways:
                _warm(way)
            for way in ways:
                measured.figures.append(_measure(stage, way, measured))
    if not stage.scratch.is_sqlite:
        measured.figures.append(writers(stage, measured))
    return measured


def _warm(way: Way) -> None:
    for _ in range(WARM):
        way.ours()
        way.bare()


def _measure(stage: Stage, way: Way, measured: Measured) -> Figure:
    ours, bare = [], []
    for number in range(stage.scale.rounds):
        mine, other = in_turn(number, partial(_rate, way, way.ours), partial(_rate, way, way.bare))
        ours.append(mine)
        bare.append(other)
        stage.told.step(f"{way.name}: {mine:.0f} rows/s, bare {other:.0f}")
    added = stage.scale.rounds * way.calls * way.rows
    measured.did("ours", added)
    measured.did("bare", added)
    return Figure(f"enqueue, {way.name}", "rows/s", tuple(ours), tuple(bare), way.against, goal=Goal(way.goal))


def _rate(way: Way, call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(way.calls):
        call()
    return way.calls * way.rows / (time.perf_counter() - began)


@contextmanager
def _ways(stage: Stage) -> Iterator[list[Way]]:
    """Every way of this database, on connections that stay open; in the end the rows are counted."""
    scratch = stage.scratch
    scratch.clear()
    with ExitStack() as opened:
        ways = list((_on_file if scratch.is_sqlite else _on_server)(stage, opened))
        yield ways
    with scratch.database() as database:
        each = [way.rows * (WARM + stage.scale.rounds * way.calls) for way in ways]
        prove_added(database, tasks.NOOP, sum(each))
        if not scratch.is_sqlite:
            prove_added(database, tasks.BARE, sum(each))


def _on_server(stage: Stage, opened: ExitStack) -> Iterator[Way]:
    scratch, singles = stage.scratch, stage.scale.singles
    desk = OpenLocal(scratch.url, handlers=(tasks.MODULE,))
    opened.callback(desk.close)
    engine = create_engine(scratch.url)
    opened.callback(engine.dispose)
    conn: psycopg.Connection[Any] = opened.enter_context(psycopg.connect(scratch.plain, autocommit=True))
    against = "psycopg insert, commit"

    def bare() -> None:
        conn.execute(bare_insert.INSERT, bare_insert.row(tasks.BARE, tasks.PAYLOAD))

    submit = partial(desk.submit, tasks.NOOP, tasks.PAYLOAD, {})
    yield Way("single", 1, singles, submit, bare, against, 0.8)
    yield Way("single, caller's SQLAlchemy", 1, singles, partial(_as_caller, engine), bare, against, 0.4)
    with_database = opened.enter_context(scratch.database())
    for size in stage.scale.bulks:
        many = partial(_many, with_database, size)
        copy = partial(bare_insert.copy, conn, tasks.BARE, tasks.PAYLOAD, size)
        yield Way(f"many, {size:,}", size, _calls(stage, size), many, copy, "psycopg COPY, commit", 0.8)


def _on_file(stage: Stage, opened: ExitStack) -> Iterator[Way]:
    scratch = stage.scratch
    conn = opened.enter_context(closing(bare_file.connect(scratch.spare())))
    database = opened.enter_context(scratch.database())

    def single() -> None:
        with database.begin() as mine:
            jobrunner.enqueue(mine, tasks.NOOP, tasks.PAYLOAD)

    insert = partial(bare_file.insert, conn, tasks.BARE, tasks.PAYLOAD)
    yield Way("single", 1, stage.scale.singles, single, partial(insert, 1), "sqlite3 insert, commit", 0.4)
    for size in stage.scale.bulks:
        many, other = partial(_many, database, size), partial(insert, size)
        yield Way(f"many, {size:,}", size, _calls(stage, size), many, other, "sqlite3 executemany, commit", 0.7)


def _calls(stage: Stage, size: int) -> int:
    return max(1, min(IN_ALL, 5 * stage.scale.tasks) // size)


def _as_caller(engine: Engine) -> None:
    with engine.begin() as conn:
        jobrunner.enqueue(conn, tasks.NOOP, tasks.PAYLOAD)


def _many(database: Any, size: int) -> None:
    with database.begin() as conn:
        submit_many(conn, [Request(tasks.NOOP, tasks.PAYLOAD) for _ in range(size)])
