"""Start latency and round trip over REST in one process, ``jobrunner up`` on a SQLite file.

The bare side is one process on a file of its own: insert, commit, wake a loop, claim, commit, run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from jobrunner.bench import tasks
from jobrunner.bench.errors import BenchFailed
from jobrunner.bench.figure import Goal, Measured
from jobrunner.bench.processes import settle, wait_until
from jobrunner.bench.rows import moments
from jobrunner.bench.samples import MS, WARM, alternate, percentiles
from jobrunner.bench.senders import BareFile, OpenRemote, rest, there_and_back, through
from jobrunner.bench.stage import Stage

BARE_WAY = "insert, wake, claim, handler in one process"
WITHIN = 30.0  # seconds until the last task ends


def latency(stage: Stage) -> Measured:
    """From a row's ``created_at`` to the handler's first line."""
    with _idle_pair(stage) as (desk, bare):
        ours = through(desk)
        alternate(stage, "start latency", ours, bare.send)
    found = _begun(stage)[WARM:]
    if len(found) != len(bare.latencies):
        raise BenchFailed(f"{len(bare.latencies)} tasks were submitted, {len(found)} completed")
    other = [value * MS for value in bare.latencies]
    figures = percentiles(stage, "start latency in one process", found, other, {50: Goal(1.0, "ours")}, BARE_WAY)
    return Measured(figures, {"ours": len(found), "bare": len(other)})


def roundtrip(stage: Stage) -> Measured:
    """From the moment before a POST until the result is in the caller's hands, beside the bare start latency."""
    mine: list[float] = []
    with _idle_pair(stage) as (desk, bare):
        alternate(stage, "round trip", lambda: mine.append(there_and_back(desk, WITHIN) * MS), bare.send)
    other = [value * MS for value in bare.latencies]
    figures = percentiles(stage, "round trip over REST", mine, other, {}, f"start latency: {BARE_WAY}")
    return Measured(figures, {"ours": len(mine), "bare": len(other)})


@contextmanager
def _idle_pair(stage: Stage) -> Iterator[tuple[OpenRemote, BareFile]]:
    scratch = stage.scratch
    scratch.clear()
    with stage.processes.jobrunner("up") as (up,), BareFile(scratch.spare()) as bare:
        settle([up])
        desk = OpenRemote(up.ready["url"])
        try:
            for _ in range(WARM):
                through(desk)()
                bare.send()
                rest()
            bare.latencies.clear()
            yield desk, bare
            open_ = ["pending", "running"]
            wait_until(lambda: not desk.tasks(statuses=open_, limit=1)["tasks"], [up], "every task ends", WITHIN)
        finally:
            desk.close()


def _begun(stage: Stage) -> list[float]:
    """Milliseconds from each row's making to its handler's first line, oldest first."""
    with stage.scratch.database() as database:
        found = moments(database, tasks.STAMP, "created_at", "result")
    return [json.loads(row.result)["at"] * MS - row.created_at.timestamp() * 1e3 for row in found if row.result]
