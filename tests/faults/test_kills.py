"""kill -9 at every step of a task's way: afterwards nothing is lost, and nothing is completed twice."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.faults import rest
from tests.faults.fleet import Fleet
from tests.processes import Process, free_port

Steps = dict[str, tuple[str, dict[str, Any]]]

KILLED = -9
ROW = {"effect": "fault.row"}
# The worker's own steps, and the task that passes each.
IN_THE_WORKER: Steps = {
    "claim-before": ("fault.work", {}),
    "claim-after-commit": ("fault.work", ROW),
    "renew-before": ("fault.work", {"seconds": 1.5}),
    "renew-after": ("fault.async", {"seconds": 1.5, **ROW}),
    "settle-before": ("fault.async", {}),
    "settle-before-commit": ("fault.fail", {"until_attempt": 2}),
    "settle-after-commit": ("fault.inline", {}),
    "effect-before-commit": ("fault.async", ROW),
    "effect-after-commit": ("fault.async", ROW),
}
# Steps of a child, which is where plain handlers run.
IN_A_CHILD: Steps = {
    "handler-before": ("fault.work", {}),
    "handler-after": ("fault.work", ROW),
    "effect-before-commit": ("fault.work", ROW),
    "effect-after-commit": ("fault.transaction", {}),
}
# On SQLite each step costs two processes: the others wait for the longer run.
ON_SQLITE = ("claim-after-commit", "settle-after-commit", "effect-before-commit")
UNDER_WAY = {*IN_THE_WORKER} - {"claim-before", "settle-after-commit", "effect-after-commit"}


def test_a_worker_killed_at_any_step_is_made_up_for(fleet: Fleet) -> None:
    fleet.make_ledger_table()
    first = {
        point: fleet.submit(name, 2, options={"queue": point}, **data)[0]
        for point, (name, data) in IN_THE_WORKER.items()
    }
    victims = {point: fleet.worker("--queues", point, failpoint=f"{point}:kill", max_workers="1") for point in first}
    for point, victim in victims.items():
        assert victim.wait(30) == KILLED, f"{point} was never passed"
    for point in ("reclaim-before-commit", "reclaim-after-commit"):
        assert fleet.worker("--queues", "none", failpoint=f"{point}:kill").wait(30) == KILLED, "nothing to reclaim"
    start = time.monotonic()
    assert fleet.worker("--until-empty", max_workers="4").wait(30) == 0
    took = time.monotonic() - start
    fleet.prove(f"kill -9 at {len(first) + 2} steps of a worker", effects=True, survivor_done_after=took)
    for point, task_id in first.items():
        _judge(fleet, point, task_id)


def _judge(fleet: Fleet, point: str, task_id: str) -> None:
    """What was committed is not done again, and what was under way was."""
    left = [one.outcome for one in fleet.left(task_id)]
    if point in UNDER_WAY:
        assert left == ["lost"], f"{point}: {left}"
    else:
        assert (fleet.row(task_id).attempt, left) == (1, []), f"{point}: what was committed was forgotten"


def test_a_child_killed_at_any_step_costs_a_crash_and_no_more(fleet: Fleet) -> None:
    """At a child's second task, since each new child counts anew."""
    fleet.make_ledger_table()
    tasks = {
        point: fleet.submit(name, 2, options={"queue": point}, **data) for point, (name, data) in IN_A_CHILD.items()
    }
    workers = {
        point: fleet.worker("--queues", point, "--until-empty", failpoint=f"{point}:kill:2", max_workers="1")
        for point in tasks
    }
    for point, worker in workers.items():
        assert worker.wait(30) == 0, f"{point}: the worker did not outlive its child"
    found = fleet.prove(f"kill -9 at {len(tasks)} steps of a child", effects=True)
    for point, (one, other) in tasks.items():
        crashed = [fleet.row(task_id).crashes for task_id in (one, other)]
        left = [end.outcome for task_id in (one, other) for end in fleet.left(task_id)]
        committed = point == "effect-after-commit"
        assert sum(crashed) == (0 if committed else 1), f"{point}: {crashed}"
        assert left == ([] if committed else ["crashed"]), point
    assert found.lost == 0


@pytest.mark.parametrize(
    "steps", [ON_SQLITE, pytest.param(tuple(IN_THE_WORKER), marks=pytest.mark.ci)], ids=["some", "all"]
)
def test_a_restart_takes_up_what_a_killed_process_left(
    alone_on: Callable[[str], Fleet], steps: tuple[str, ...]
) -> None:
    """SQLite: one file per step, one process that dies at it, one that takes the file over."""
    fleets: dict[str, Fleet] = {}
    first: dict[str, str] = {}
    victims: dict[str, Process] = {}
    for point in steps:
        name, data = IN_THE_WORKER[point]
        fleet = fleets[point] = alone_on(point)
        fleet.make_ledger_table()
        first[point] = fleet.submit(name, 2, **data)[0]
        fleet.close()
        victims[point] = fleet.worker(port=0, failpoint=f"{point}:kill", max_workers="1")
    for point, victim in victims.items():
        assert victim.wait(30) == KILLED, f"{point} was never passed"
    heirs = {point: fleet.worker("--until-empty", port=0) for point, fleet in fleets.items()}
    for point, heir in heirs.items():
        assert heir.wait(30) == 0, point
        with sqlite3.connect(fleets[point].url.removeprefix("sqlite:///")) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)], point
        file.close()
        fleets[point].prove(f"SQLite, kill -9 at {point}", effects=True)
        _judge(fleets[point], point, first[point])


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["fleet", "alone"])
def test_an_api_killed_while_it_accepts_is_asked_again(request: pytest.FixtureRequest, kind: str) -> None:
    """The client does not know whether the task was taken; asking again with the same task_id makes it one."""
    fleet: Fleet = request.getfixturevalue(kind)
    data = {"ledger": str(fleet.ledger)}
    points = ("submit-before-commit", "submit-after-commit")
    for point in points:
        node = fleet.worker(port=free_port(), failpoint=f"{point}:kill", max_workers="1", command="up")
        node.wait_healthy()
        with pytest.raises(httpx2.TransportError):
            rest.execute(node.url, point, "fault.work", data)
        assert node.wait() == KILLED
    heir = fleet.worker(port=free_port(), max_workers="1")
    heir.wait_healthy()
    for point in points:
        rest.execute(heir.url, point, "fault.work", data)
        assert rest.wait(heir.url, point)["status"] == "completed"
    assert heir.stop() == 0
    fleet.accepted = list(points)
    found = fleet.prove(f"{kind}: kill -9 while the API accepts")
    assert found.runs == len(points)
