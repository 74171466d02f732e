"""Effects of handlers in children where the worker writes for them."""

from __future__ import annotations

import threading

from jobrunner.queue.task import Ending
from tests.execution.harness import Told, in_child


def test_an_effect_is_applied_by_the_worker_in_a_thread_of_its_own() -> None:
    told = Told()
    outcome = in_child("apply", {"rows": [1, 2, 3]}, told=told)
    assert outcome.result == "3"
    assert told.applied == [("count", [1, 2, 3])]
    assert threading.get_ident() not in told.threads


def test_many_rows_pass() -> None:
    told = Told()
    assert in_child("apply", {"rows": list(range(200_000))}, told=told).result == "200000"


def test_a_lost_lease_is_raised_in_the_handler_and_ends_the_attempt() -> None:
    assert in_child("apply", {"rows": [1]}, told=Told(lost=True)).ending is Ending.LOST
    assert in_child("apply_caught", told=Told(lost=True)).result == '"taken by another"'


def test_what_an_effect_raises_is_raised_in_the_handler() -> None:
    outcome = in_child("apply_failing", told=Told())
    assert outcome.ending is Ending.ERROR
    assert outcome.error == "ZeroDivisionError: division by zero"


def test_effects_for_the_completion_go_with_the_outcome() -> None:
    outcome = in_child("on_complete", {"rows": [1, {"a": None}]})
    assert outcome.ending is Ending.COMPLETED
    assert outcome.effects == (("count", [1, {"a": None}]), ("count", []))
    assert outcome.settled is False


def test_an_answer_that_nobody_waits_for_any_more_is_not_taken_for_another() -> None:
    assert in_child("apply_impatiently", told=Told(slow=0.3)).result == "[1,3]"


def test_rows_that_are_no_json_are_an_error() -> None:
    outcome = in_child("on_complete_odd")
    assert outcome.ending is Ending.ERROR
    assert outcome.error_class == "TypeError"
    assert "object is not JSON serializable" in (outcome.error or "")


def test_a_transaction_needs_postgresql() -> None:
    outcome = in_child("transaction")
    assert outcome.ending is Ending.ERROR
    assert "needs PostgreSQL" in (outcome.error or "")
