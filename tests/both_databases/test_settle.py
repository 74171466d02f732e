"""The end of an attempt: fenced by the token, counted in its own budget, recorded once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobrunner.db.engine import Database
from jobrunner.queue import store
from jobrunner.queue.task import CRASH_BUDGET, Ending, Outcome, Status
from tests.both_databases.moves import BROKEN, DONE, add, age_lease, end, left, reclaim, row, take


def test_an_attempt_that_went_well_costs_no_row(database: Database) -> None:
    add(database, task_id="t")
    assert end(database, take(database)[0]) is Status.COMPLETED
    assert left(database, "t") == []
    found = row(database, "t")
    assert (found.token, found.lease_until) == (None, None)
    assert found.finished_at >= found.started_at


def test_a_late_writer_is_refused(database: Database) -> None:
    add(database, task_id="t")
    first = take(database)[0]
    age_lease(database, "t", 1)
    assert reclaim(database) == ["t"]
    second = take(database, node="node-b")[0]
    assert end(database, first) is None
    assert row(database, "t").status == "running"
    assert end(database, second) is Status.COMPLETED
    assert end(database, second) is None, "recorded once"
    assert [(one.attempt, one.outcome) for one in left(database, "t")] == [(1, "lost")]


def test_neither_id_nor_status_is_enough(database: Database) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    forged = replace(task, lease=replace(task.lease, token="0" * 32))
    assert end(database, forged) is None
    assert row(database, "t").status == "running"


@pytest.mark.parametrize("outcome", [DONE, BROKEN])
def test_both_ends_of_a_task_that_was_lost_and_claimed_again_may_come_in_one_batch(
    database: Database, outcome: Outcome
) -> None:
    add(database, task_id="t")
    first = take(database)[0]
    age_lease(database, "t", 1)
    reclaim(database)
    second = take(database)[0]
    with database.begin() as conn:
        told = store.settle(conn, [(first, outcome), (second, outcome)])
    assert [one.accepted for one in told] == [False, True]
    assert [one.attempt for one in left(database, "t") if one.outcome != "lost"] == [2] * (outcome is BROKEN)


def test_failures_are_retried_up_to_max_attempts(database: Database) -> None:
    add(database, task_id="t", max_attempts=2)
    assert end(database, take(database)[0], BROKEN) is Status.PENDING
    assert end(database, take(database)[0], BROKEN) is Status.FAILED
    found = row(database, "t")
    assert (found.failures, found.attempt, found.error) == (2, 2, "boom")
    assert [(one.outcome, one.error_class, one.traceback) for one in left(database, "t")] == [
        ("error", "ValueError", "Traceback ...")
    ] * 2


def test_back_off_counts_from_the_settling(database: Database) -> None:
    add(database, task_id="t")
    end(database, take(database)[0], replace(BROKEN, delay=100.0))
    assert take(database) == []
    found = row(database, "t")
    assert 95 < (found.run_at - left(database, "t")[0].ended_at).total_seconds() < 105


def test_crashes_have_a_budget_of_their_own(database: Database) -> None:
    add(database, task_id="t", max_attempts=1)
    crash = Outcome(Ending.CRASHED, error="its process was ended by SIGSEGV", exit_signal=11)
    for _ in range(CRASH_BUDGET - 1):
        assert end(database, take(database)[0], crash) is Status.PENDING
    assert end(database, take(database)[0], crash) is Status.FAILED
    found = row(database, "t")
    assert (found.crashes, found.failures) == (CRASH_BUDGET, 0)
    assert {one.exit_signal for one in left(database, "t")} == {11}


def test_bad_arguments_and_cancel_are_never_retried(database: Database) -> None:
    add(database, task_id="refused")
    assert end(database, take(database)[0], Outcome(Ending.REFUSED, error="no")) is Status.FAILED
    add(database, task_id="cancelled")
    assert end(database, take(database)[0], Outcome(Ending.CANCELLED, error="not needed")) is Status.CANCELLED
    assert row(database, "cancelled").error == "not needed"


def test_retry_later_counts_no_failure(database: Database) -> None:
    add(database, task_id="t", max_attempts=1)
    for _ in range(3):
        assert end(database, take(database)[0], Outcome(Ending.RETRY_LATER)) is Status.PENDING
    found = row(database, "t")
    assert (found.failures, found.snoozes, found.error) == (0, 3, None)
    assert end(database, take(database)[0]) is Status.COMPLETED


def test_what_is_given_back_is_charged_as_a_release(database: Database) -> None:
    add(database, task_id="t", max_attempts=1)
    for times in (1, 2):
        [task] = take(database)
        assert end(database, task, Outcome(Ending.RELEASED, error="its worker stops")) is Status.PENDING
        now = row(database, "t")
        assert (now.failures, now.crashes, now.losses, now.releases) == (0, 0, 0, times)


def test_a_batch_is_settled_one_by_one(database: Database) -> None:
    for number in range(6):
        add(database, task_id=f"t{number}")
    tasks = take(database)
    age_lease(database, tasks[2].task_id, 1)
    reclaim(database)
    outcomes = [DONE, BROKEN, DONE, Outcome(Ending.CANCELLED), DONE, DONE]
    with database.begin() as conn:
        fates = store.settle(conn, list(zip(tasks, outcomes, strict=True)))
    assert [fate.status for fate in fates] == [
        Status.COMPLETED, Status.PENDING, None, Status.CANCELLED, Status.COMPLETED, Status.COMPLETED,
    ]  # fmt: skip
    assert [fate.accepted for fate in fates].count(False) == 1


def test_a_cancel_that_came_first_wins_over_the_result(database: Database) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    with database.begin() as conn:
        assert store.cancel(conn, "t") is Status.RUNNING
    assert end(database, task) is Status.CANCELLED
    found = row(database, "t")
    assert (found.result, found.error) == (None, "cancelled")


def test_a_failed_attempt_is_not_tried_again_after_a_cancel(database: Database) -> None:
    add(database, task_id="t")
    task = take(database)[0]
    with database.begin() as conn:
        store.cancel(conn, "t")
    assert end(database, task, BROKEN) is Status.CANCELLED
