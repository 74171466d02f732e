"""The guide's calls as one of its old clients makes them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx2

ENDED = ("completed", "failed", "cancelled")
_http = httpx2.Client(timeout=10)


def execute(url: str, task_id: str, task_type: str, task_data: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Submit a task; it is accepted when this returns."""
    body = {"task_id": task_id, "task_type": task_type, "task_data": dict(task_data), "priority": 5, "timeout": 300}
    answer = _http.post(f"{url}/api/v1/task/execute", json={**body, **options})
    assert answer.status_code in (200, 202), answer.text
    return dict(answer.json())


def status(url: str, task_id: str) -> dict[str, Any]:
    """How it stands."""
    answer = _http.get(f"{url}/api/v1/task/{task_id}/status")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait(url: str, task_id: str, within: float = 30.0) -> dict[str, Any]:
    """Poll until it ended."""
    deadline = time.monotonic() + within
    while (told := status(url, task_id))["status"] not in ENDED:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{task_id} is {told['status']} after {within:g} s")
        time.sleep(0.05)
    return told


def get(url: str, path: str) -> dict[str, Any]:
    """Any call that only looks."""
    answer = _http.get(f"{url}{path}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
