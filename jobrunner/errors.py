"""What can go wrong, as one tree.

JobrunnerError
├── SettingsError        a setting is unknown, ill-formed or unsafe; raised at start only
├── SchemaMismatch       the database's schema does not fit this code
├── DatabaseLocked       another process owns the SQLite file
├── DatabaseUnavailable  the database did not answer in time
│   └── DatabaseBusy     it answers, but somebody's open transaction holds what is needed
├── InvalidInput         a request or payload is refused; carries every problem and where it stands
│   └── UnknownTaskType  nobody ever published this task type
├── TaskNotFound         no task has this task_id
├── ScheduleNotFound     no schedule has this name
├── KeyNotFound          no API key has this id
├── KeyReplaced          the API key has a successor that is in use
├── QueueNotFound        no queue has this name
├── NodeNotFound         no node has this id
├── NodeAlive            the node lives, so it is not removed
├── OperationNotFound    no operation has this id
├── GroupNotFound        no failed task has this fingerprint
├── TaskExists           the task_id is taken by a different request
├── StateConflict        the task's status does not allow the wish
├── LeaseLost            this attempt no longer owns its task (raised inside a handler)
├── HandlerError         a handler module or declaration is wrong, or conn is in AUTOCOMMIT; no task ever ends by it
└── Verdict              raised by handlers to say how the attempt ends
    ├── RetryLater       run again after some seconds; counts no failure
    └── Cancel           end as cancelled; never retried
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class JobrunnerError(Exception):
    """The base of all errors that jobrunner raises. Each can go to another process and be copied, whatever it takes."""

    def __reduce__(self) -> tuple[Callable[..., JobrunnerError], tuple[Any, ...]]:
        # Not by its class and its sentence, as other exceptions: a class here takes what its sentence is made of.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[JobrunnerError], args: tuple[Any, ...], facts: Mapping[str, Any]) -> JobrunnerError:
    """An error that was made once, as it was: its attributes and notes too."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


class SettingsError(JobrunnerError):
    """A setting is unknown, ill-formed or unsafe."""


class SchemaMismatch(JobrunnerError):
    """The database's schema does not fit this code; the message names the command to run."""


class DatabaseLocked(JobrunnerError):
    """Another process owns the SQLite file.

    ``owner`` is what that process wrote into the lock file: ``pid`` and, where it serves, ``url``; where it has ended
    and something else holds its lock, ``pid`` and ``ended``. ``here`` where it is another part of this process.
    """

    def __init__(self, path: str, owner: dict[str, object]) -> None:
        self.path = path
        self.owner = owner
        who = f"process {owner['pid']}" if "pid" in owner else "another process"
        where = f" (it answers at {owner['url']})" if owner.get("url") else ""
        if owner.get("here"):
            super().__init__(f"{path} is in use by another part of this program: close that first, or share a client.")
            return
        if owner.get("ended"):
            who, where = f"what {who} left behind when it ended", f" (`fuser {path}.lock` tells its number: end it)"
        super().__init__(
            f"{path} is in use by {who}{where}. SQLite serves one process; "
            "to run several, set JOBRUNNER_DATABASE_URL to a PostgreSQL database."
        )


class DatabaseUnavailable(JobrunnerError):
    """The database did not answer in time, or not at all."""


class DatabaseBusy(DatabaseUnavailable):
    """Somebody's open transaction holds what is needed, for longer than was to be waited."""


PROBLEMS_MOST = 20  # told of one input: those of 60,000 unknown fields took 2 s and 3 MB


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input: a JSON pointer to it, and a sentence."""

    pointer: str
    detail: str


class InvalidInput(JobrunnerError):
    """A request or payload is refused; ``problems`` says what is wrong and where: the first 20, and how many follow."""

    code = "invalid_input"

    def __init__(self, detail: str, problems: Sequence[Problem] = ()) -> None:
        self.detail = detail
        more = (
            [Problem("", f"and {len(problems) - PROBLEMS_MOST} more problems")] if len(problems) > PROBLEMS_MOST else []
        )
        self.problems = (*problems[:PROBLEMS_MOST], *more)
        told = "; ".join(f"{p.pointer or '/'}: {p.detail}" for p in self.problems)
        super().__init__(f"{detail}: {told}" if told else detail)


class UnknownTaskType(InvalidInput):
    """Nobody ever published this task type."""

    code = "unknown_task_type"

    def __init__(self, task_type: str, nearest: str | None = None) -> None:
        self.task_type = task_type
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        problem = Problem("/task_type", f"no worker ever published {task_type!r}{hint}")
        super().__init__(f"unknown task type {task_type!r}", [problem])


class TaskNotFound(JobrunnerError):
    """No task has this task_id."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(f"no task {task_id!r}")


class ScheduleNotFound(JobrunnerError):
    """No schedule has this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no schedule {name!r}")


class KeyNotFound(JobrunnerError):
    """No key has this id, or it has ended."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"no key {key_id!r} that is still in use")


class KeyReplaced(JobrunnerError):
    """The API key has a successor that is in use: that one can be replaced."""

    def __init__(self, key_id: str, successor: str) -> None:
        self.key_id = key_id
        self.successor = successor
        super().__init__(f"key {key_id!r} was replaced by {successor!r}, which has been used: rotate that one")


class QueueNotFound(JobrunnerError):
    """Nothing waits or runs in a queue of this name, and nobody ever said anything about it."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no queue {name!r}")


class NodeNotFound(JobrunnerError):
    """No node has this id, or it ended more than a day ago."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        super().__init__(f"no node {node_id!r}")


class NodeAlive(JobrunnerError):
    """The node lives, so what is known of it is not forgotten."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        super().__init__(f"node {node_id!r} is alive: stop it first, or wait until it has missed its beats")


class OperationNotFound(JobrunnerError):
    """No operation has this id."""

    def __init__(self, operation_id: str) -> None:
        self.operation_id = operation_id
        super().__init__(f"no operation {operation_id!r}")


class GroupNotFound(JobrunnerError):
    """None of the newest failed tasks has this fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        super().__init__(f"no failed task with the fingerprint {fingerprint!r}")


class TaskExists(JobrunnerError):
    """The task_id (or the open unique_key) is taken by a different request."""

    def __init__(self, key: str, taken: str, *, task_id: str) -> None:
        self.key = key
        self.task_id = task_id
        super().__init__(f"{key} {taken!r} is taken by a different request (task {task_id!r})")


class StateConflict(JobrunnerError):
    """The task's status does not allow the wish."""

    def __init__(self, task_id: str, *, found: str, wish: str) -> None:
        self.task_id = task_id
        self.found = found
        self.wish = wish
        super().__init__(f"task {task_id!r} is {found}, so it cannot be {wish}")


class LeaseLost(JobrunnerError):
    """This attempt no longer owns its task: another one runs, or the task ended."""


class HandlerError(JobrunnerError):
    """A handler module cannot be loaded, a handler is declared wrongly, or ``conn`` could undo nothing that failed."""


class Verdict(JobrunnerError):
    """Raised by a handler to say how its attempt ends."""


class RetryLater(Verdict):
    """Run this task again after ``seconds``; counts no failure, at most 1,000 times in a generation."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        if not 0 <= seconds <= 366 * 86400:
            raise ValueError(f"RetryLater takes 0 to {366 * 86400} seconds, not {seconds!r}")
        self.seconds = float(seconds)
        self.reason = reason
        super().__init__(reason or f"again in {seconds:g} s")


class Cancel(Verdict):
    """End this task as cancelled, for good."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "cancelled by its handler")
