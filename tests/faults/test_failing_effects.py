"""An effect that fails is its attempt's failure: of the same kind wherever it ran, and in a user's test."""

from __future__ import annotations

from typing import Any

from jobrunner.testing import run
from tests.faults.fleet import Fleet, wait_for
from tests.faults.tasks import VERDICTS, work

KINDS = ("fault.work", "fault.async", "fault.inline")
EXPECTED = {
    "fault.later": ("pending", 0, 1, "retry_later", None, False),
    "fault.cancels": ("cancelled", 0, 0, "cancelled", None, False),
    "fault.refuses": ("failed", 1, 0, "refused", "jobrunner.errors.InvalidInput", False),
    "fault.says_lost": ("failed", 1, 0, "error", "jobrunner.errors.LeaseLost", False),
    "fault.wrong": ("failed", 1, 0, "error", "ValueError", True),
}


def test_the_verdict_of_an_effect_is_one_wherever_it_runs(fleet: Fleet) -> None:
    worker = fleet.ready(max_workers="2")
    asked = {
        (kind, effect): fleet.submit(kind, options={"max_attempts": 1}, effect=effect)[0]
        for kind in KINDS
        for effect in VERDICTS
    }
    wait_for(lambda: all(fleet.left(task_id) for task_id in asked.values()), "all have come to an end", 20)
    for (kind, effect), task_id in asked.items():
        assert (kind, _told(fleet, task_id)) == (kind, EXPECTED[effect]), effect
    assert worker.stop() == 0


def test_it_is_the_same_in_a_test_of_a_handler() -> None:
    for effect, error in VERDICTS.items():

        def answer(rows: list[Any], error: Exception = error) -> None:
            raise error

        payload = {"ledger": "/dev/null", "effect": effect}
        ran = run(work, payload, answers={effect: answer}, max_attempts=1)
        status, *_, ending, error_class, traceback = EXPECTED[effect]
        found = (ran.status, ran.ending, ran.error_class, ran.traceback is not None)
        assert found == (status, ending, error_class, traceback), effect


def _told(fleet: Fleet, task_id: str) -> tuple[Any, ...]:
    row = fleet.row(task_id)
    [one] = fleet.left(task_id)
    return row.status, row.failures, row.snoozes, one.outcome, one.error_class, one.traceback is not None
