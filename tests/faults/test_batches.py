"""Batches under kill -9, SIGTERM and each other: hundreds at once are lost or recorded as safely as one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, text

from jobrunner.db.tables import attempts, tasks
from tests.faults.fleet import Fleet, wait_for
from tests.processes import free_port

KILLED = -9
MANY = 100
# A write that dawdles lets completions gather behind it; the next one, with all of them, does not come back.
AT_THE_WRITE = ("settle-before", "settle-after-commit")


def _doomed(point: str) -> str:
    return f"settle-before:sleep=1.5:3,{point}:kill:4"


def _grouped(fleet: Fleet, column: Any, *where: Any) -> dict[str, int]:
    with fleet.database.read() as conn:
        found = conn.execute(select(column, func.count()).where(*where).group_by(column))
        return {str(name): count for name, count in found}


def _asked(fleet: Fleet) -> int:
    """Statements of others that are under way: a claim is committed though its worker died meanwhile."""
    others = "datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
    with fleet.database.read() as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM pg_stat_activity WHERE {others}")).scalar_one())


@pytest.mark.ci
def test_a_worker_killed_with_hundreds_of_completions_in_hand_is_made_up_for(fleet: Fleet) -> None:
    for point in AT_THE_WRITE:
        fleet.submit("fault.async", 1_500, options={"queue": point})
    victims = {point: fleet.worker("--queues", point, failpoint=_doomed(point)) for point in AT_THE_WRITE}
    for point, victim in victims.items():
        assert victim.wait(30) == KILLED, f"{point} was never passed for the fourth time"
    wait_for(lambda: not _asked(fleet), "the server is through with what they asked last", 10)
    with fleet.database.read() as conn:
        queue_of = {row.task_id: row.queue for row in conn.execute(select(tasks.c.task_id, tasks.c.queue))}
        held = {row.task_id for row in conn.execute(select(tasks.c.task_id).where(tasks.c.status == "running"))}
        done = {row.task_id for row in conn.execute(select(tasks.c.task_id).where(tasks.c.status == "completed"))}
    unwritten = {line.task_id for line in fleet.lines("end")} & held
    per_point = {point: sum(queue_of[one] == point for one in unwritten) for point in AT_THE_WRITE}
    assert per_point["settle-before"] >= MANY, per_point
    written = {point: sum(queue_of[one] == point for one in done) for point in AT_THE_WRITE}
    assert written["settle-after-commit"] >= MANY, "what was committed before the kill stands"
    assert fleet.worker("--until-empty").wait(40) == 0
    found = fleet.prove(f"kill -9 with {per_point} completions in hand, {written} written")
    assert {one.outcome for one in found.ended} == {"lost"}
    assert {one.task_id for one in found.ended} == held, "only what was held is run again"
    assert {row.attempt for row in found.rows if row.task_id in done} == {1}, "what was recorded is not"


@pytest.mark.ci
def test_one_process_on_a_file_killed_with_hundreds_of_completions_in_hand(alone_on: Callable[[str], Fleet]) -> None:
    fleet = alone_on("batches")
    fleet.submit("fault.async", 1_500)
    fleet.close()
    assert fleet.worker(port=free_port(), failpoint=_doomed("settle-before")).wait(30) == KILLED
    held = {line.task_id for line in fleet.lines("begin")}
    assert len(held) >= MANY
    assert fleet.worker("--until-empty", port=free_port()).wait(30) == 0
    found = fleet.prove("SQLite, kill -9 with hundreds of completions in hand")
    assert found.lost >= MANY
    assert {row.attempt for row in found.rows} == {1, 2}


@pytest.mark.parametrize(("workers", "count"), [(2, 6_000), pytest.param(4, 20_000, marks=pytest.mark.ci)])
def test_workers_drain_in_large_batches_and_run_each_task_once(fleet: Fleet, workers: int, count: int) -> None:
    started = [fleet.ready(max_async="300") for _ in range(workers)]
    for priority in range(1, 11):
        options = {"priority": priority, "queue": f"q{priority % 3}"}
        fleet.submit("fault.nothing", count // 10, options=options)
    fleet.wait_until_ended(60)
    assert [one.stop() for one in started] == [0] * workers
    assert _grouped(fleet, tasks.c.status) == {"completed": count}
    assert _grouped(fleet, tasks.c.attempt) == {"1": count}
    shares = _grouped(fleet, tasks.c.node_id)
    batches = _grouped(fleet, tasks.c.started_at)
    with fleet.database.read() as conn:
        assert conn.execute(select(func.count()).select_from(attempts)).scalar_one() == 0
    print(f"FIGURE {workers} workers drain {count}: shares {list(shares.values())}, {len(batches)} claims")
    assert max(batches.values()) > 100, "no batch was large: the test means nothing"
    assert len(shares) > 1, "one worker did it all: the test means nothing"


def test_a_signal_in_the_middle_of_a_drain_gives_back_what_did_not_begin(fleet: Fleet) -> None:
    fleet.submit("fault.async", 3_000, seconds=0.005)
    worker = fleet.ready(max_async="4")
    fleet.wait_for_lines("end", 300)

    def ahead() -> bool:
        """Whether it is stopped with more in hand than it runs at once: on a busy machine it rarely looks far ahead."""
        worker.signal(signal.SIGSTOP)
        if _grouped(fleet, tasks.c.status).get("running", 0) > 8:
            return True
        worker.signal(signal.SIGCONT)
        return False

    wait_for(ahead, "it claims ahead", 20)
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGCONT)
    assert worker.wait(20) == 0
    released = _grouped(fleet, tasks.c.task_id, tasks.c.releases > 0)
    begun = {line.task_id for line in fleet.lines("begin")}
    assert set(_grouped(fleet, tasks.c.status)) == {"completed", "pending"}, "nothing is left behind as running"
    assert released, "nothing was claimed ahead: the test means nothing"
    assert not released.keys() & begun, "what began within the grace came to its end"
    charged = select(func.sum(tasks.c.failures + tasks.c.crashes + tasks.c.losses))
    with fleet.database.read() as conn:
        assert conn.execute(charged).scalar_one() == 0
    assert fleet.worker("--until-empty").wait(40) == 0
    found = fleet.prove(f"SIGTERM in the middle of a drain, {len(released)} given back")
    assert {one.outcome for one in found.ended} == {"released"}
    assert {one.task_id for one in found.ended} == released.keys()
    wait_for(lambda: fleet.open_tasks() == 0, "nothing is left", 10)
