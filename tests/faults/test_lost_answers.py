"""The link ends when the server was told to commit, or has done so: who asked cannot know, and asks again."""

from __future__ import annotations

import time

import httpx2
import pytest
from sqlalchemy import select

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import attempts
from jobrunner.errors import DatabaseUnavailable, TaskExists
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.faults.fleet import LEASE, Fleet, events, wait_for
from tests.faults.spoken import CLAIM, RENEW, SETTLE, Act, Trap
from tests.faults.wire import Wire
from tests.processes import free_port

ACTS: tuple[Act, ...] = ("before", "told", "answered")
TASKS = 20

LONG = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.mark.long
@pytest.mark.timeout(120)
def test_an_enqueue_that_is_asked_again_under_its_id_is_one_row(fleet: Fleet) -> None:
    known = {}
    for act in ACTS:
        trap = Trap(act, "COMMIT", "INSERT INTO tasks")
        with Wire(fleet.url, asked=trap) as wire:
            client = open_database(wire.url)
            found = [_ask_twice(client, trap, fleet, f"{act}-{number}") for number in range(TASKS)]
            client.dispose()
        known[act] = found.count(False)
    assert known == {"before": 0, "told": TASKS, "answered": TASKS}, "a lost answer is not a lost commit"
    assert fleet.worker("--until-empty").wait(30) == 0
    found_now = fleet.prove("the answer to an enqueue's COMMIT lost", stood_already=sum(known.values()))
    assert len(found_now.rows) == found_now.runs == TASKS * len(ACTS)


def _ask_twice(client: Database, trap: Trap, fleet: Fleet, task_id: str) -> bool:
    """Whether the second try made the row."""
    told = new_task("fault.async", {"ledger": str(fleet.ledger)}, task_id=task_id)
    trap.set()
    with pytest.raises(DatabaseUnavailable), client.begin() as conn:
        store.enqueue(conn, told)
    assert trap.sprung_at is not None, "no COMMIT was seen: the test means nothing"
    with client.begin() as conn:
        again = store.enqueue(conn, told)
    fleet.accepted.append(again.task_id)
    with pytest.raises(TaskExists), client.begin() as conn:
        store.enqueue(conn, new_task("fault.async", {"ledger": "another"}, task_id=task_id))
    return bool(again.created)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("act", ACTS)
def test_a_submission_over_rest_that_is_sent_again_is_one_row(fleet: Fleet, act: Act) -> None:
    trap = Trap(act, "COMMIT", "INSERT INTO tasks")
    with Wire(fleet.url, asked=trap) as wire:
        door = fleet.ready(port=free_port(), database_url=wire.url)
        door.wait_healthy()
        body = {"task_type": "fault.async", "task_data": {"ledger": str(fleet.ledger)}}
        codes: list[tuple[int, int]] = []
        for number in range(TASKS):
            named = {**body, "task_id": f"{act}-{number}"}
            trap.set()
            first = httpx2.post(f"{door.url}/api/v1/task/execute", json=named, timeout=15)
            assert first.headers["Retry-After"], first.text
            second = httpx2.post(f"{door.url}/api/v1/task/execute", json=named, timeout=15)
            codes.append((first.status_code, second.status_code))
            fleet.accepted.append(f"{act}-{number}")
        fleet.wait_until_ended()
        assert {first for first, _ in codes} == {503}
        assert {second for _, second in codes} <= {200, 202}
        found = fleet.prove(f"REST, COMMIT {act}, {TASKS} times 503, then taken")
        assert len(found.rows) == found.runs == TASKS
        assert door.stop() == 0


@pytest.mark.parametrize(
    "act",
    [
        pytest.param("before", marks=LONG),
        pytest.param("told", marks=LONG),
        pytest.param("answered", marks=pytest.mark.ci),
    ],
)
def test_an_end_whose_commit_was_not_heard_is_recorded_once(fleet: Fleet, act: Act) -> None:
    """Of what went well, of a failure, and of an end that commits together with its effect."""
    fleet.make_ledger_table()
    plain, whole = Trap(act, SETTLE), Trap(act, "COMMIT", SETTLE)
    with Wire(fleet.url, asked=lambda statement: _first(plain(statement), whole(statement))) as wire:
        worker = fleet.ready(database_url=wire.url)
        for trap, task_type, data in (
            (plain, "fault.async", {}),
            (whole, "fault.fail", {"until_attempt": 2}),
            (whole, "fault.work", {"effect": "fault.row"}),
            (whole, "fault.transaction", {}),
        ):
            for _ in range(3):
                trap.set()
                fleet.submit(task_type, 1, **data)
                fleet.wait_until_ended()
                assert trap.sprung_at is not None, f"no end of {task_type} was seen: the test means nothing"
        refused = len(events(worker, "late outcome refused"))
        found = fleet.prove(f"an end's COMMIT {act}", effects=True, refused=refused)
        assert found.lost == 0
        with fleet.database.read() as conn:
            left = sorted(row.outcome for row in conn.execute(select(attempts)))
        # A transaction that did not commit, and whose handler was told so, is tried again, and charged to nobody.
        undone = ["retry_later"] * 3 if act == "before" else []
        assert left == ["error"] * 3 + undone
        assert found.runs == 12 + len(left), "an end was not heard, so its attempt was run again"
        if act != "before":
            assert refused >= 3, "who asks again has no right to it any more"
        assert worker.stop() == 0


def _first(*acts: Act) -> Act:
    return next((act for act in acts if act != "pass"), "pass")


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_claim_that_was_not_heard_is_taken_back_and_run_once(fleet: Fleet) -> None:
    trap = Trap("answered", CLAIM)
    renewals = Trap("answered", RENEW)
    with Wire(fleet.url, asked=lambda statement: _first(trap(statement), renewals(statement))) as wire:
        worker = fleet.ready(database_url=wire.url)
        fleet.submit("fault.work", 1, seconds=2 * LEASE)
        fleet.wait_for_lines("begin", 1)
        renewals.set()
        trap.set()
        fleet.submit("fault.async", 10)
        begun = time.monotonic()
        wait_for(lambda: trap.sprung_at is not None, "the claim is sent", 10)
        fleet.wait_until_ended(30)
        found = fleet.prove("a claim's answer lost, and a renewal's", ended_after=time.monotonic() - begun)
        assert renewals.sprung_at is not None
        assert found.runs == 11, "what nobody heard of did not run"
        assert worker.stop() == 0
