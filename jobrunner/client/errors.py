"""What can go wrong between a client and a running jobrunner.

JobrunnerError
├── Unreachable       nobody answers at the URL
├── Refused           the server answered with an error status
├── NotTaken          no node took a task, and it certainly runs nowhere
└── OutcomeUnknown    a task was sent to a node, and nobody can say what became of it
"""

from __future__ import annotations

from collections.abc import Mapping

from jobrunner.errors import JobrunnerError


class Unreachable(JobrunnerError):
    """Nobody answers at the URL, or what answers is not jobrunner."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(f"no jobrunner answers at {url} ({reason}); start one with: jobrunner up")


class Refused(JobrunnerError):
    """The server answered with an error; ``status`` is HTTP's, ``problem`` the answer's JSON object or empty."""

    def __init__(self, status: int, told: str, problem: dict[str, object]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(told)


class NotTaken(JobrunnerError):
    """No node took the task, and it certainly runs nowhere; ``reasons`` has a sentence for each node that was asked."""

    def __init__(self, task_id: str, reasons: Mapping[str, str]) -> None:
        self.task_id = task_id
        self.reasons = dict(reasons)
        told = "; ".join(f"{node}: {reason}" for node, reason in self.reasons.items())
        super().__init__(f"no node took task {task_id!r} ({told})")


class OutcomeUnknown(JobrunnerError):
    """The task was sent to a node, and nobody can say whether it ran, runs or will run.

    Ask again with the same ``task_id``, and it goes to the same node (``node_id``); run it elsewhere only where running
    it twice does no harm.
    """

    def __init__(self, task_id: str, node_id: str, reason: str) -> None:
        self.task_id = task_id
        self.node_id = node_id
        self.reason = reason
        super().__init__(f"what became of task {task_id!r} at node {node_id!r} is not known: {reason}")
