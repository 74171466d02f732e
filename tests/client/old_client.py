"""A client of the old system, written from the seed guide and never from jobrunner: only its calls, fields and habits.

It posts a task, polls the status once a second with a 10 s time-out, parses statuses into a closed enumeration, and
subtracts times from its own naive clock.
"""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any


class TaskStatus(Enum):
    """The old system's five; any other word is a ValueError."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NodeStatus(Enum):
    """The old system's four."""

    HEALTHY = "healthy"
    BUSY = "busy"
    OVERLOADED = "overloaded"
    ERROR = "error"


@dataclass
class Result:
    """What the old client made of a finished task."""

    task_id: str
    status: TaskStatus
    result: dict[str, Any] | None
    error: str | None
    execution_time: float


class OldClient:
    """Talks to one node; ``pause`` is the time between two polls in seconds."""

    def __init__(self, host: str, port: int, api_key: str | None = None, *, pause: float = 1.0) -> None:
        self.url = f"http://{host}:{port}"
        self.headers = {"Content-Type": "application/json"}
        if api_key:
            self.headers["X-API-Key"] = api_key
        self.pause = pause

    def usable(self) -> bool:
        """Whether the node is healthy, and its heartbeat is not older than a minute by this machine's clock."""
        told = self._call("/api/v1/health")
        age = (datetime.now() - datetime.fromisoformat(told["last_heartbeat"])).total_seconds()
        figures = [told[name] + 0.0 for name in ("cpu_percent", "memory_percent", "uptime_seconds")]
        counts = [told[name] + 0 for name in ("active_tasks", "completed_tasks", "failed_tasks")]
        known = NodeStatus(told["status"]) is NodeStatus.HEALTHY and "data_import" in told["capabilities"]
        return known and age < 60 and min(figures + counts) >= 0

    def execute(
        self, task_id: str, task_type: str, task_data: dict[str, Any], priority: int = 5, timeout: int = 300
    ) -> Result:
        """Run a task and wait for its end; raises TimeoutError after ``timeout`` seconds, as it then ran it at home."""
        wish = {"task_id": task_id, "task_type": task_type, "task_data": task_data}
        told = self._call("/api/v1/task/execute", {**wish, "priority": priority, "timeout": timeout})
        assert told["task_id"] == task_id
        TaskStatus(told["status"])
        assert isinstance(told["message"], str)
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            told = self._call(f"/api/v1/task/{task_id}/status")
            status = TaskStatus(told["status"])
            if status in (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED):
                took = datetime.fromisoformat(told["completed_at"]) - datetime.fromisoformat(told["started_at"])
                age = datetime.now() - datetime.fromisoformat(told["completed_at"])
                assert -1 < age.total_seconds() < 60
                assert abs(took.total_seconds() - told["execution_time"]) < 1
                return Result(task_id, status, told["result"], told["error"], told["execution_time"] + 0.0)
            time.sleep(self.pause)
        raise TimeoutError

    def stats(self) -> dict[str, Any]:
        """The groups of the node's statistics."""
        told = self._call("/api/v1/node/stats")
        assert told["success"] is True
        data: dict[str, Any] = told["data"]
        return data

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())
