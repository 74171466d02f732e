"""Workers whose clocks are wrong by an hour, or go back while they work, beside one whose clock is right: one clock
counts, the database's."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from jobrunner.background import schedules
from jobrunner.db.tables import firings, nodes, tasks
from tests.faults import faketime
from tests.faults.check import check
from tests.faults.fleet import LEASE, READY, Fleet, wait_for

HOUR = 3600  # seconds
BACK = 90  # seconds by which one clock goes back in the middle of the work
SKEWS = {"ahead": f"{HOUR:+}s", "behind": f"{-HOUR:+}s", "stepping": "+0s", "right": ""}
# No handler calls time.sleep: under libfaketime 0.9.10 it now and then fails with EINVAL.
WORK: tuple[tuple[str, int, dict[str, Any], dict[str, Any]], ...] = (
    ("fault.async", 60, {"seconds": 0.05}, {}),
    ("fault.async", 6, {"seconds": 1.5 * LEASE}, {}),  # its lease is renewed
    ("fault.fail", 6, {"until_attempt": 3}, {}),
    ("fault.async", 6, {}, {"delay": 2.0}),
    ("fault.async", 3, {"seconds": 60.0}, {"timeout": 1.0, "max_attempts": 1}),
)

Outcome = tuple[str, int, int, int]


@pytest.mark.long
@pytest.mark.timeout(150)
def test_clocks_wrong_by_an_hour_change_nothing(fleet: Fleet) -> None:
    without = _round(fleet, dict.fromkeys(SKEWS, ""), "without")
    wrong = _round(fleet, SKEWS, "with")
    assert wrong == without
    _set_right(fleet)
    found = replace(fleet.history(), lease_seconds=LEASE)
    assert check(found) == []
    kept = fleet.prove(
        "clocks an hour ahead and behind, and one that goes back by 90 s",
        outcomes_changed=0,
        firings=len(found.firings),
    )
    late = [line.at - move.at for line, move in _begun(kept.lines, kept.moves)]
    assert max(map(abs, late)) < 60, "a line was not set right: the test means nothing"
    with fleet.database.read() as conn:
        took = [row.finished_at - row.started_at for row in conn.execute(select(tasks))]
        beats = [row.heartbeat_at - row.started_at for row in conn.execute(select(nodes))]
    assert timedelta(0) <= min(took) <= max(took) < timedelta(seconds=60)
    assert timedelta(0) <= min(beats) <= max(beats) < timedelta(seconds=60)


def _round(fleet: Fleet, skews: Mapping[str, str], name: str) -> list[Outcome]:
    """What became of the same work, in the order in which it was handed in; firings are looked at here."""
    workers = []
    for who, skew in skews.items():
        told = fleet.home / f"{who} {name}"
        told.write_text(skew)
        workers.append(fleet.worker("--node-name", told.name, loader=faketime.loader(told) if skew else None))
    for worker in workers:
        worker.wait_for_line(READY, 40)
    data = {"ledger": str(fleet.ledger)}
    with fleet.database.begin() as conn:
        schedules.save(conn, name, every=1.0, task_type="fault.async", payload=data, allow_unknown=True)
    ids = [one for task_type, count, told, how in WORK for one in fleet.submit(task_type, count, options=how, **told)]
    shown = (tasks.c.status, tasks.c.attempt, tasks.c.failures, tasks.c.losses)
    ended = tasks.c.status.in_(["completed", "failed"])

    def outcomes() -> dict[str, Outcome]:
        with fleet.database.read() as conn:
            found = conn.execute(select(tasks.c.task_id, *shown).where(tasks.c.task_id.in_(ids), ended))
            return {row[0]: (row[1], row[2], row[3], row[4]) for row in found}

    begun = time.monotonic()
    time.sleep(LEASE / 2)  # what takes longer than a lease runs now
    if skews["stepping"]:
        (fleet.home / f"stepping {name}").write_text(f"-{BACK}s")
    wait_for(lambda: len(outcomes()) == len(ids), "all of it ends", 40)
    time.sleep(max(0.0, 10 - (time.monotonic() - begun)))
    with fleet.database.begin() as conn:
        schedules.pause(conn, name)
    fleet.wait_until_ended()
    assert [worker.stop() for worker in workers] == [0] * len(workers)
    _prove_firings(fleet, name)
    return [outcomes()[one] for one in ids]


def _prove_firings(fleet: Fleet, name: str) -> None:
    """Each instant was fired once and near its time, or counted as skipped; most were fired."""
    with fleet.database.read() as conn:
        found = conn.execute(select(firings).where(firings.c.schedule == name).order_by(firings.c.fire_at)).all()
        made = {row.task_id: row.created_at for row in conn.execute(select(tasks.c.task_id, tasks.c.created_at))}
    assert len(found) >= 6
    for earlier, later in itertools.pairwise(found):
        assert later.fire_at - earlier.fire_at == timedelta(seconds=1 + later.skipped), (earlier, later)
    assert max(abs(made[row.task_id] - row.fire_at) for row in found) < timedelta(seconds=5)


def _set_right(fleet: Fleet) -> None:
    """Handlers told the time by their own clocks: take from each line what its node's was wrong by."""
    with fleet.database.read() as conn:
        names = {row.id: row.name.split() for row in conn.execute(select(nodes))}
    claims = {(move.task_id, move.after.attempt): move for move in fleet.history().moves if move.after.node_id}
    lines, back = [], 0
    for line in fleet.history().lines:
        claim = claims[line.task_id, line.attempt]
        who, when = names[str(claim.after.node_id)]
        skew = {"ahead": HOUR, "behind": -HOUR}.get(who, 0) if when == "with" else 0
        if (who, when) == ("stepping", "with") and claim.at - line.at > BACK / 2:
            skew, back = -BACK, back + 1
        lines.append(replace(line, at=line.at - skew))
    assert back > 0, "no clock went back while its worker worked: the test means nothing"
    fleet.ledger.write_text("".join(json.dumps(asdict(line)) + "\n" for line in lines))


def _begun(lines: Any, moves: Any) -> list[tuple[Any, Any]]:
    claims = {(one.task_id, one.after.attempt): one for one in moves if one.after.status == "running"}
    return [(line, claims[line.task_id, line.attempt]) for line in lines if line.what == "begin"]
