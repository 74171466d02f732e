"""A backlog worked off by jobrunner's own processes, which are up and idle before the first of its tasks may run."""

from __future__ import annotations

from jobrunner.bench.costs import costs
from jobrunner.bench.fill import fill, pause, resume, tidy
from jobrunner.bench.processes import settle, wait_until
from jobrunner.bench.rows import all_ended, prove
from jobrunner.bench.stage import Stage
from jobrunner.db.notes import WORK, notify

LEAD = 4.0  # seconds that a process which owns its file has to get ready, until its tasks are due
LEAST_RATE = 20  # tasks a second: slower is stuck

Told = dict[str, float]
"""``rate`` in tasks a second by the clock of the rows and, where they can be seen, ``worker_cpu``, ``server_cpu``
(microseconds a task) and ``wal`` (bytes a task)."""


def patience(wanted: int) -> float:
    """Seconds after which so many tasks have not ended because something is stuck."""
    return 30 + wanted / LEAST_RATE


def work_off(stage: Stage, task_type: str, wanted: int, *args: str, count: int = 1) -> Told:
    """``wanted`` tasks of a type by ``count`` workers with ``args``; each is proved to have run exactly once."""
    scratch = stage.scratch
    if scratch.is_sqlite:
        return _on_file(stage, task_type, wanted, *args)
    scratch.clear()
    with scratch.database() as database:
        pause(database)
        fill(database, task_type, wanted)
        tidy(scratch)
        with stage.processes.jobrunner("worker", *args, count=count) as workers:
            settle(workers)
            before = costs(scratch, workers)
            resume(database)
            with database.begin() as conn:
                notify(conn, {WORK: ()})
            wait_until(lambda: all_ended(database, task_type), workers, "the tasks end", patience(wanted))
            told = costs(scratch, workers).since(before, wanted)
        return {"rate": wanted / prove(database, task_type, wanted), **told}


def _on_file(stage: Stage, task_type: str, wanted: int, *args: str) -> Told:
    scratch = stage.scratch
    scratch.clear()
    with scratch.database() as database:
        fill(database, task_type, wanted, delay=LEAD)
    with stage.processes.jobrunner("worker", "--until-empty", *args) as workers:
        workers[0].wait_for_end(LEAD + patience(wanted))
    with scratch.database() as database:
        return {"rate": wanted / prove(database, task_type, wanted)}
