"""What a worker costs that has nothing to do: CPU, the server's CPU for it, statements and memory."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import Any

import psutil
import psycopg

from jobrunner.bench import tasks
from jobrunner.bench.costs import postmaster
from jobrunner.bench.figure import Figure, Goal, Measured
from jobrunner.bench.processes import Started, settle
from jobrunner.bench.scratch import Scratch
from jobrunner.bench.stage import Stage

MB = 2**20
_WHERE = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements'"
_HERE = "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
OWN = 1  # statements of the bench itself between two counts


def idle(stage: Stage) -> Measured:
    """One worker at its defaults beside an idle bare process, for ``scale.idle`` seconds."""
    scratch, seconds = stage.scratch, stage.scale.idle
    scratch.clear()
    measured = Measured()
    with ExitStack() as running, stage.told.steps(f"idle: {seconds:g} s", 1):
        bare = running.enter_context(_bare(stage))[0]
        others = _backends(scratch)
        worker = running.enter_context(stage.processes.jobrunner("worker"))[0]
        settle([worker, bare])
        time.sleep(min(2.0, seconds))  # statistics of what warmed it up reach the server's counters
        backends = _backends(scratch) - others
        counted, statements = _statements(scratch)
        before = _cpu(worker, bare, backends)
        began = time.monotonic()
        time.sleep(seconds)
        after = _cpu(worker, bare, backends)
        took = time.monotonic() - began
        statements = _statements(scratch)[1] - statements - OWN
        percent = {key: 100 * (after[key] - before[key]) / took for key in after}
        measured.figures += _busy(percent, scratch) + _memory(worker, bare)
        if counted:
            rate = max(0, statements) / took
            measured.figures.append(Figure(f"idle: {counted}", "1/s", (rate,), more=False, goal=Goal(6, "ours")))
        measured.did("ours", 1)
        measured.did("bare", 1)
        stage.told.step(f"idle: {percent['worker']:.2f} % of a core")
    return measured


def _bare(stage: Stage) -> Any:
    if stage.scratch.is_sqlite:
        return stage.processes.helper("bare_file", task_type=tasks.BARE, batch=10, due=0)
    return stage.processes.helper("bare_listen", channel=stage.scratch.schema, task_type=tasks.BARE)


def _backends(scratch: Scratch) -> set[int]:
    """The server's processes for jobrunner, where they can be looked at from here."""
    if scratch.admin is None or postmaster(scratch) is None:
        return set()
    told = scratch.admin.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'jobrunner'"
    )
    return {pid for (pid,) in told}


def _statements(scratch: Scratch) -> tuple[str, int]:
    """What can be counted, and how many there were so far in this database, whoever sent them."""
    if scratch.admin is None:
        return "", 0
    place = scratch.query(_WHERE)
    if place is not None:
        counted = f"SELECT sum(calls) FROM {place[0]}.pg_stat_statements {_HERE}"  # noqa: S608 - a quoted name
        with suppress(psycopg.errors.ObjectNotInPrerequisiteState):  # made, but the server does not load it
            return "statements", int(scratch.query(counted)[0])
    told = scratch.query("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
    return "transactions (statements cannot be counted here)", int(told[0])


def _cpu(worker: Started, bare: Started, backends: set[int]) -> dict[str, float]:
    """CPU seconds so far."""
    root, *children = worker.family()
    told = {
        "worker": _used([root]),
        "children": _used(children),
        "bare": _used(bare.family()),
        "server": _used([psutil.Process(pid) for pid in backends if psutil.pid_exists(pid)]),
    }
    return {**told, "all": told["worker"] + told["children"] + told["server"]}


def _used(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            total += used.user + used.system
    return total


def _busy(percent: dict[str, float], scratch: Scratch) -> list[Figure]:
    against = "an idle bare process"
    bare = (percent["bare"],)
    seen = not scratch.is_sqlite and postmaster(scratch) is not None
    name = "idle: all with the server" if seen else "idle: all"
    figures = [
        Figure(name, "% of a core", (percent["all"],), bare, against, False, Goal(1, "ours")),
        Figure("idle: worker", "% of a core", (percent["worker"],), bare, against, False),
        Figure("idle: its children", "% of a core", (percent["children"],), more=False),
    ]
    if seen:
        figures.append(Figure("idle: server", "% of a core", (percent["server"],), more=False))
    return figures


def _memory(worker: Started, bare: Started) -> list[Figure]:
    root, *children = (process.memory_info().rss / MB for process in worker.family())
    bare_rss = bare.family()[0].memory_info().rss / MB
    figures = [Figure("idle: memory", "MB", (root,), (bare_rss,), "an idle bare process", False, Goal(70, "ours"))]
    if children:
        figures.append(Figure("idle: memory of a child", "MB", (max(children),), more=False))
    return figures
