"""A database that is away is nobody's failure: the attempt ends, and costs its task nothing."""

from __future__ import annotations

import pytest

from jobrunner.errors import DatabaseUnavailable
from jobrunner.execution.attempt import OUTAGE_DELAY, failed
from jobrunner.queue.task import Ending, Outcome, Status
from jobrunner.queue.verdict import Verdict, decide
from tests.execution.harness import Told, in_child, make_task

RETRY_LATER = Outcome(Ending.RETRY_LATER, error="no answer", delay=OUTAGE_DELAY)


@pytest.mark.parametrize("group", [False, True])
def test_an_outage_that_ends_a_handler_is_not_charged(group: bool) -> None:
    error: Exception = DatabaseUnavailable("no answer")
    outcome = failed(ExceptionGroup("of a TaskGroup", [error]) if group else error)
    assert outcome == RETRY_LATER
    last_try = make_task("any", failures=2, max_attempts=3, crashes=2)
    assert decide(last_try, outcome) == Verdict(Status.PENDING, "snoozes", OUTAGE_DELAY)


def test_an_effect_that_finds_no_database_gives_the_task_back() -> None:
    outcome = in_child("apply", {"rows": [1]}, told=Told(away=True))
    assert (outcome.ending, outcome.error, outcome.delay) == (Ending.RETRY_LATER, "no answer", OUTAGE_DELAY)
