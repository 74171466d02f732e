"""What newer calls answer with, as models: the OpenAPI document is made of them, and tests hold answers against it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from jobrunner.queue.views import AuditView, KeyView


class Exact(BaseModel):
    """An answer with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Keys(Exact):
    """Every key, without its text."""

    keys: list[KeyView]


class IssuedKey(Exact):
    """A key that was made just now; ``key`` is its text."""

    id: str
    name: str
    scopes: list[str]
    queues: list[str] | None
    rate: float | None
    replaces: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    usable: bool
    key: str


class Changes(Exact):
    """One page of the audit."""

    changes: list[AuditView]
    next_cursor: str | None


class Schedule(Exact):
    """One schedule; ``every`` and ``timeout`` in seconds."""

    name: str
    cron: str | None
    every: float | None
    timezone: str
    anchor: datetime
    task_type: str
    queue: str
    priority: int
    max_attempts: int | None
    timeout: float | None
    paused: bool
    declared: bool
    next_at: datetime | None
    fired_at: datetime | None
    error: str | None
    task_data: dict[str, Any]


class Schedules(Exact):
    """The schedules, the next to fire first."""

    schedules: list[Schedule]


class Accepted(Exact):
    """A task that was put into the queue."""

    task_id: str
    status: str


class Alive(Exact):
    """The process answers; ``is_node`` tells whether it is the node that was asked for, null where none was."""

    status: Literal["ok"]
    is_node: bool | None


class Ready(Exact):
    """Whether requests can be served; ``reasons`` say why not."""

    status: Literal["ready", "not ready"]
    reasons: list[str]
