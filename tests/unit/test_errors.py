"""Every exception of jobrunner goes to another process and comes back whole, as process pools need it."""

from __future__ import annotations

import copy
import pickle
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import jobrunner
from jobrunner import errors
from jobrunner.cli.again import MayBeStored
from jobrunner.client import errors as of_clients
from jobrunner.errors import JobrunnerError, Problem

PROBLEM = {"code": "invalid_input", "detail": "no", "errors": [{"pointer": "/priority", "detail": "too high"}]}
FACTS = (404, "no such task", PROBLEM)
MADE: list[JobrunnerError] = [
    errors.DatabaseLocked("jobrunner.db", {"pid": 1, "url": "http://127.0.0.1:8900"}),
    errors.InvalidInput("no", [Problem("/a", "b")]),
    errors.UnknownTaskType("nap", "map"),
    errors.TaskNotFound("t"),
    errors.ScheduleNotFound("s"),
    errors.KeyNotFound("k"),
    errors.KeyReplaced("k", "l"),
    errors.QueueNotFound("q"),
    errors.NodeNotFound("n"),
    errors.NodeAlive("n"),
    errors.OperationNotFound("o"),
    errors.GroupNotFound("g"),
    errors.TaskExists("task_id", "t", task_id="t"),
    errors.StateConflict("t", found="running", wish="retried"),
    errors.RetryLater(3, "later"),
    errors.Cancel("not today"),
    of_clients.Unreachable("http://localhost", "refused", arrived=True),
    of_clients.Refused(*FACTS, task_id="t", retry_after=2.0),
    of_clients.NoSuchTask(*FACTS, task_id="t"),
    of_clients.BadInput(*FACTS),
    of_clients.NoSuchType(*FACTS),
    of_clients.TakenId(*FACTS, task_id="t"),
    of_clients.WrongState(*FACTS, task_id="t"),
    of_clients.OutcomeUnknown("t", "lost", "node", again=False),
    of_clients.WaitTimeout("t", 1.5, "running"),
    of_clients.ClientClosed(),
    of_clients.TaskFailed("t", "fell", [{"error_class": "ValueError", "traceback": "Traceback: here"}]),
    of_clients.TaskCancelled("t", "enough"),
    of_clients.NotTaken("t", {"node": "full"}),
    MayBeStored("t", errors.DatabaseUnavailable("away"), "look"),
]


def _kinds(kind: type[JobrunnerError]) -> Iterator[type[JobrunnerError]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("jobrunner."):
            yield each
        yield from _kinds(each)


def test_every_one_that_takes_more_than_a_sentence_is_tried() -> None:
    for found in pkgutil.walk_packages(jobrunner.__path__, "jobrunner."):
        if found.name.endswith(".errors"):
            import_module(found.name)
    untried = {kind for kind in _kinds(JobrunnerError) if kind.__init__ is not JobrunnerError.__init__}
    assert {kind.__name__ for kind in untried} - {type(error).__name__ for error in MADE} == set()


@pytest.mark.parametrize("error", [*MADE, errors.LeaseLost("gone")], ids=lambda error: type(error).__name__)
def test_it_comes_back_whole(error: JobrunnerError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
