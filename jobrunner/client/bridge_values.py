"""What the bridge takes and gives: a task, its result, and a node with its figures. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from jobrunner.queue.request import new_task
from jobrunner.queue.task import ENDED, Status


@dataclass(frozen=True)
class BridgeTask:
    """One task as the guide's calls carry it; ``timeout`` in seconds, ``priority`` 1 first."""

    task_id: str
    task_type: str
    task_data: Mapping[str, Any]
    priority: int
    timeout: float

    @cached_property
    def request_hash(self) -> str:
        """Equal for equal requests."""
        return new_task(self.task_type, self.task_data).request_hash

    def body(self) -> dict[str, Any]:
        """The guide's task request, and nothing newer: old nodes read it as well."""
        return {
            "task_id": self.task_id,
            "task_type": self.task_type,
            "task_data": dict(self.task_data),
            "priority": self.priority,
            "timeout": int(self.timeout) if self.timeout == int(self.timeout) else self.timeout,
        }


@dataclass(frozen=True)
class TaskResult:
    """How a task stands or ended. Times are local and carry no offset, as the guide's are; seconds.

    ``status`` compares equal to its word. One that is ``pending`` or ``running`` has outlasted the caller's timeout:
    ``error`` says where it goes on. ``node_id`` is the node that told it, or that ran it where a shared database did;
    None where this process did, or its own file.
    """

    task_id: str
    status: Status
    result: dict[str, Any] | None = None
    error: str | None = None
    execution_time: float = 0.0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    node_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED


def result_of(task_id: str, told: Any, node_id: str | None) -> TaskResult:
    """The guide's task status, or its answer to a submission, as a value; raises ValueError where it is neither."""
    if not isinstance(told, dict) or told.get("task_id", task_id) != task_id:
        raise ValueError("its answer is not about this task")
    status = Status(str(told.get("status")))
    result = told.get("result")
    error = told.get("error")
    return TaskResult(
        task_id=task_id,
        status=status,
        result=result if result is None or isinstance(result, dict) else {"value": result},
        error=None if error is None else str(error),
        execution_time=float(told.get("execution_time") or 0.0),
        started_at=local_time(told.get("started_at")),
        completed_at=local_time(told.get("completed_at")),
        node_id=node_id,
    )


def local_time(told: Any) -> datetime | None:
    """A time of the guide's calls: local and without an offset, whatever the node wrote. Raises ValueError."""
    if told is None:
        return None
    at = told if isinstance(told, datetime) else datetime.fromisoformat(str(told))
    return at if at.tzinfo is None else at.astimezone().replace(tzinfo=None)


@dataclass(frozen=True)
class AvailableNode:
    """A node that takes work, with the figures of its health; percentages are 0 to 100.

    ``address`` is None for a node that is reached by the database that it shares with this process.
    """

    node_id: str
    node_name: str
    address: str | None
    status: str
    cpu_percent: float
    memory_percent: float
    active_tasks: int
    completed_tasks: int
    failed_tasks: int
    uptime_seconds: float
    last_heartbeat: datetime | None
    capabilities: tuple[str, ...]
