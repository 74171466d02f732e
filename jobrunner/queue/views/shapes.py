"""The JSON of REST and of ``--json``, made from views in this one place: pure functions, RFC 3339 times in UTC.

The compatible calls (``/api/v1/task/...``) have shapes of their own; these are the newer resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobrunner.queue.task import Status
from jobrunner.queue.views.cursors import cursor
from jobrunner.queue.views.keys import AuditView, KeyView
from jobrunner.queue.views.lists import TasksPage
from jobrunner.queue.views.nodes import NodeView
from jobrunner.queue.views.overview import Health
from jobrunner.queue.views.schedules import ScheduleView
from jobrunner.queue.views.tasks import AttemptView, LogView, TaskView
from jobrunner.queue.views.why import WhyView

_NOT_TOLD = frozenset({"id", "payload", "result", "finished_at", "error", "tags"})


def moment(at: datetime | None) -> str | None:
    """An aware time as ``2026-01-31T01:30:00.000000Z``."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def wrapped(result: Any) -> dict[str, Any] | None:
    """A result as the wire has it: an object or None; anything else as ``{"value": ...}``."""
    return result if result is None or isinstance(result, dict) else {"value": result}


def task_dict(view: TaskView, *, whole: bool = True) -> dict[str, Any]:
    """One task. ``whole`` adds ``task_data`` and ``result``, which lists leave out."""
    told = _plain({name: getattr(view, name) for name in TaskView.__dataclass_fields__ if name not in _NOT_TOLD})
    told["message"] = view.message or ""
    told["completed_at"] = moment(view.finished_at)
    told["execution_time"] = view.execution_time
    told["error"] = view.error
    told["tags"] = view.tags or []
    if whole:
        told["task_data"] = view.payload
        told["result"] = wrapped(view.result)
    return told


def tasks_dict(page: TasksPage) -> dict[str, Any]:
    """One page of tasks, newest first; ``next_cursor`` is the ``cursor`` of the next page, None after the last."""
    following = None if page.following is None else cursor("tasks", page.following)
    return {"tasks": [task_dict(view, whole=False) for view in page.tasks], "next_cursor": following}


def attempt_dict(view: AttemptView) -> dict[str, Any]:
    """One attempt that ended badly or was released; ``peak_rss`` in bytes."""
    return _plain(vars(view))


def attempts_dict(views: Sequence[AttemptView]) -> dict[str, Any]:
    """The attempts of a task, oldest first."""
    return {"attempts": [attempt_dict(view) for view in views]}


def log_dict(view: LogView) -> dict[str, Any]:
    """One kept line; ``id`` is the ``after`` of the next page."""
    return _plain(vars(view))


def logs_dict(views: Sequence[LogView], after: int) -> dict[str, Any]:
    """Lines in the order they came; ``next_after`` goes on behind them, and stays where it was when there are none."""
    return {"logs": [log_dict(view) for view in views], "next_after": views[-1].id if views else after}


def node_dict(view: NodeView) -> dict[str, Any]:
    """One node; ``rss`` and ``memory_total`` in bytes."""
    return _plain(vars(view))


def nodes_dict(views: Sequence[NodeView]) -> dict[str, Any]:
    """The nodes, living ones first."""
    return {"nodes": [node_dict(view) for view in views]}


def type_dict(told: Mapping[str, Any], nodes: Sequence[str]) -> dict[str, Any]:
    """One task type, and the ids of the nodes that claim it."""
    return {**_plain(told), "nodes": list(nodes)}


def schedule_dict(view: ScheduleView) -> dict[str, Any]:
    """One schedule; ``every`` and ``timeout`` in seconds."""
    told = _plain(vars(view))
    told["task_data"] = told.pop("payload")
    return told


def schedules_dict(views: Sequence[ScheduleView]) -> dict[str, Any]:
    """The schedules, the next to fire first."""
    return {"schedules": [schedule_dict(view) for view in views]}


def firing_dict(firing: Mapping[str, Any]) -> dict[str, Any]:
    """One firing: a row of ``last_firings``."""
    return _plain(firing)


def key_dict(view: KeyView) -> dict[str, Any]:
    """One key, without its text; ``rate`` in requests a second, ``queues`` None for all."""
    return _plain(vars(view))


def key_limits(told: Mapping[str, Any]) -> dict[str, Any]:
    """What the audit tells of a new key, beside its id."""
    return {name: told[name] for name in ("name", "scopes", "queues", "rate", "expires_at")}


def keys_dict(views: Sequence[KeyView]) -> dict[str, Any]:
    """The keys, the newest first."""
    return {"keys": [key_dict(view) for view in views]}


def audit_dict(views: Sequence[AuditView], limit: int) -> dict[str, Any]:
    """One page of changes, the newest first; ``next_cursor`` as for tasks."""
    following = cursor("audit", views[-1].id) if views and len(views) >= limit else None
    return {"changes": [_plain(vars(view)) for view in views], "next_cursor": following}


def why_dict(view: WhyView) -> dict[str, Any]:
    """Why a task is not running."""
    told = [{**_plain(vars(reason)), "nodes": list(reason.nodes)} for reason in view.reasons]
    return {"task_id": view.task_id, "status": view.status, "reasons": told}


def plain(view: Any) -> dict[str, Any]:
    """Any view, field by field."""
    return _plain(vars(view))


def overview_dict(health: Health, counts: Mapping[Status, int]) -> dict[str, Any]:
    """Whether all is well: ``verdict`` ok, no_node or late; ``waiting_seconds`` of the longest-waiting due task."""
    return {
        "verdict": health.verdict,
        "nodes_alive": health.nodes_alive,
        "waiting_seconds": health.waiting,
        "counts": {str(status): counts[status] for status in Status},
    }


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in told.items()}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    return str(value) if isinstance(value, Status) else value
