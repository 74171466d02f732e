"""What can go wrong between a client and a running jobrunner, and the ends of tasks that are no results.

JobrunnerError
├── Unreachable     nobody answers at the URL
├── Refused         the server answered with an error status; what the database refuses has the same classes over REST
│   ├── NoSuchTask      and TaskNotFound
│   ├── BadInput        and InvalidInput (NoSuchType: and UnknownTaskType)
│   ├── TakenId         and TaskExists
│   └── WrongState      and StateConflict
├── NotTaken        no node took a task, and it certainly runs nowhere
├── OutcomeUnknown  nobody can say what became of what was asked
├── WaitTimeout     the task did not end in time, and goes on; also a TimeoutError
├── ClientClosed    the client was closed before the call, or during it; also a RuntimeError
├── TaskFailed      the task ended as failed
└── TaskCancelled   the task ended as cancelled
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jobrunner.errors import (
    InvalidInput,
    JobrunnerError,
    Problem,
    StateConflict,
    TaskExists,
    TaskNotFound,
    UnknownTaskType,
)


class Unreachable(JobrunnerError):
    """Nobody answers at the URL, or what answers is not jobrunner.

    ``arrived`` is True where the call may have been carried out all the same: its answer was lost.
    """

    def __init__(self, url: str, reason: str, *, arrived: bool = False) -> None:
        self.url = url
        self.arrived = arrived
        super().__init__(f"no jobrunner answers at {url} ({reason}); start one with: jobrunner up")


class Refused(JobrunnerError):
    """The server answered with an error; ``status`` is HTTP's, ``problem`` the answer's JSON object or empty.

    ``code`` is the problem's, for programs, empty where something else than jobrunner answered; ``retry_after`` is in
    seconds, None where the server did not say.
    """

    def __init__(
        self,
        status: int,
        told: str,
        problem: Mapping[str, Any],
        *,
        task_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.problem = dict(problem)
        self.code = str(self.problem.get("code") or "")
        self.task_id = task_id
        self.retry_after = retry_after
        Exception.__init__(self, told)  # not the next class's, which makes a sentence of its own


class NoSuchTask(Refused, TaskNotFound):
    """404: no task has this task_id, or the key may not see it."""


class BadInput(Refused, InvalidInput):
    """422: the request is refused; ``detail`` and ``problems`` as at the database."""

    def __init__(self, status: int, told: str, problem: Mapping[str, Any], **more: Any) -> None:
        super().__init__(status, told, problem, **more)
        self.detail = str(self.problem.get("detail") or told)
        self.problems = tuple(_problems(self.problem.get("errors")))


class NoSuchType(BadInput, UnknownTaskType):
    """422: nobody ever published this task type."""

    task_type = ""  # which one was asked for stands in the sentence


class TakenId(Refused, TaskExists):
    """409: the task_id is taken by a different request."""

    key = "task_id"


class WrongState(Refused, StateConflict):
    """409: the task's status does not allow the wish; which it is stands in the sentence."""

    found = wish = ""


@contextmanager
def done(task_id: str, what: str, *, again: bool) -> Iterator[None]:
    """For the look behind a change that was answered: where it fails, nobody shall take that for the change's fate."""
    try:
        yield
    except JobrunnerError as error:
        told = f"the {what} was accepted, and how the task is now could not be asked: {error}"
        raise OutcomeUnknown(task_id, told, again=again) from error


def _problems(errors: Any) -> Sequence[Problem]:
    told = errors if isinstance(errors, list) else []
    return [
        Problem(str(each.get("pointer") or ""), str(each.get("detail") or ""))
        for each in told
        if isinstance(each, dict)
    ]


class OutcomeUnknown(JobrunnerError):
    """Nobody can say whether what was asked was done, or whether a task ran, runs or will run.

    Ask for the task. Where ``again`` is True the same may be asked once more: a submission under the same ``task_id``,
    which a bridge sends to the same node (``node_id``, else None). Run it elsewhere only where twice does no harm.
    """

    def __init__(self, task_id: str, reason: str, node_id: str | None = None, *, again: bool = True) -> None:
        self.task_id = task_id
        self.reason = reason
        self.node_id = node_id
        self.again = again
        what = f"task {task_id!r}" if task_id else "what was asked"
        where = f" at node {node_id!r}" if node_id else ""
        then = "asking again is safe" if again else "look at it first: asked again, it may be done twice"
        super().__init__(f"what became of {what}{where} is not known ({reason}); {then}")


class WaitTimeout(JobrunnerError, TimeoutError):
    """The task did not end in time. It goes on. Where nobody said how it stands ``status`` is empty: see ``reason``."""

    def __init__(self, task_id: str, seconds: float, status: str, reason: str = "") -> None:
        self.task_id = task_id
        self.seconds = seconds
        self.status = status
        self.reason = reason
        how = f"it is {status} and goes on" if status else f"how it stands nobody says ({reason})"
        super().__init__(f"task {task_id!r} did not end in {seconds:g} s; {how}")


class ClientClosed(JobrunnerError, RuntimeError):
    """The client was closed before the call, or during it. Tasks go on."""

    def __init__(self) -> None:
        super().__init__("this client is closed: make another one")


class TaskFailed(JobrunnerError):
    """The task ended as failed.

    ``error`` is what it failed with; ``error_class`` and ``traceback`` are those of its last attempt, None where that
    has none (its node died, say). ``attempts`` are the kept attempts as REST tells them, oldest first.
    """

    def __init__(self, task_id: str, error: str, attempts: Sequence[Mapping[str, Any]]) -> None:
        self.task_id = task_id
        self.error = error
        self.attempts = [dict(one) for one in attempts]
        last = self.attempts[-1] if self.attempts else {}
        self.error_class: str | None = last.get("error_class")
        self.traceback: str | None = last.get("traceback")
        super().__init__(f"task {task_id!r} failed: {error}")
        if self.traceback:
            self.add_note(f"The traceback of the task's last attempt:\n{self.traceback.rstrip()}")


class TaskCancelled(JobrunnerError):
    """The task ended as cancelled; ``reason`` is what was said with it."""

    def __init__(self, task_id: str, reason: str) -> None:
        self.task_id = task_id
        self.reason = reason
        super().__init__(f"task {task_id!r} was cancelled: {reason}")


class NotTaken(JobrunnerError):
    """No node took the task, and it certainly runs nowhere; ``reasons`` has a sentence for each node that was asked."""

    def __init__(self, task_id: str, reasons: Mapping[str, str]) -> None:
        self.task_id = task_id
        self.reasons = dict(reasons)
        told = "; ".join(f"{node}: {reason}" for node, reason in self.reasons.items())
        super().__init__(f"no node took task {task_id!r} ({told})")
