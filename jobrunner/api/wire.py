"""The guide's answers: its field names, its five statuses, and its times, which are local and carry no offset.

Old clients subtract these times from their own naive clock, so an offset would break them. Newer calls use
:mod:`jobrunner.queue.views.shapes`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, WithJsonSchema

from jobrunner.api.service import NodeFacts
from jobrunner.queue.views import TaskView
from jobrunner.queue.views.shapes import wrapped

HEALTH = {"active": "healthy", "overloaded": "overloaded", "draining": "busy", "stuck": "busy", "stopped": "busy"}
"""A node's state in the guide's words. A full node is healthy: it queues."""

GIB = 1024**3

Local = Annotated[
    datetime, WithJsonSchema({"type": "string", "description": "This machine's wall clock, without an offset."})
]


class TaskResponse(BaseModel):
    """The answer to a submission."""

    task_id: str
    status: str
    message: str = ""
    started_at: Local | None = None
    completed_at: Local | None = None


class TaskStatus(BaseModel):
    """How one task stands; ``execution_time`` in seconds, 0.0 until it is known."""

    task_id: str
    status: str
    result: dict[str, Any] | None
    error: str | None
    started_at: Local | None
    completed_at: Local | None
    execution_time: float


class Health(BaseModel):
    """One node, or the fleet where this process only serves."""

    node_id: str
    node_name: str
    status: str
    cpu_percent: float
    memory_percent: float
    active_tasks: int
    completed_tasks: int
    failed_tasks: int
    uptime_seconds: float
    last_heartbeat: Local
    capabilities: list[str]


class Enveloped(BaseModel):
    """The guide's envelope around figures."""

    success: bool
    message: str
    data: dict[str, Any]


def local(at: datetime | None) -> datetime | None:
    """An aware time as this machine's wall clock shows it, without an offset."""
    return None if at is None else at.astimezone().replace(tzinfo=None)


def task_response(view: TaskView, message: str) -> TaskResponse:
    """The answer to a submission whose task is known by more than its id; ``message`` where its handler told none."""
    return TaskResponse(
        task_id=view.task_id,
        status=view.status,
        message=view.message or message,
        started_at=local(view.started_at),
        completed_at=local(view.finished_at),
    )


def task_status(view: TaskView) -> TaskStatus:
    """One task as the guide's poll expects it."""
    return TaskStatus(
        task_id=view.task_id,
        status=view.status,
        result=wrapped(view.result),
        error=view.error,
        started_at=local(view.started_at),
        completed_at=local(view.finished_at),
        execution_time=view.execution_time,
    )


def health(facts: NodeFacts, *, database_lost: bool) -> Health:
    """The guide's health: ``error`` when the database is lost or no node lives."""
    return Health(
        node_id=facts.node_id,
        node_name=facts.node_name,
        status="error" if database_lost else HEALTH.get(facts.state, "error"),
        cpu_percent=facts.cpu_percent,
        memory_percent=facts.memory_percent,
        active_tasks=facts.running,
        completed_tasks=facts.completed,
        failed_tasks=facts.failed,
        uptime_seconds=facts.uptime_seconds,
        last_heartbeat=datetime.now(),  # noqa: DTZ005 - the guide's clients compare it with their own naive clock
        capabilities=sorted(facts.types),
    )


def task_stats(facts: NodeFacts) -> dict[str, Any]:
    """``success_rate`` is a fraction, ``average_time`` in seconds; ``total_executed`` counts the completed ones."""
    ended = facts.completed + facts.failed
    return {
        "total_executed": facts.completed,
        "total_failed": facts.failed,
        "success_rate": facts.completed / ended if ended else 0.0,
        "average_time": facts.busy_seconds / ended if ended else 0.0,
        "active_tasks": facts.running,
    }


def node_stats(facts: NodeFacts) -> dict[str, Any]:
    """The three groups of the guide's node statistics."""
    return {
        "node_info": {
            "node_id": facts.node_id,
            "node_name": facts.node_name,
            "max_workers": facts.max_workers,
            "uptime_seconds": facts.uptime_seconds,
        },
        "task_stats": task_stats(facts),
        "system_info": {
            "cpu_count": facts.cpu_count,
            "memory_total_gb": facts.memory_total / GIB,
            "disk_usage_percent": facts.disk_percent,
        },
    }
