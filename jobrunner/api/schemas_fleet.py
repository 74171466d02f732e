"""What callers send about queues, nodes and many tasks at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from jobrunner.api.schemas import Strict

Limit = Annotated[int, Field(ge=1, le=2**31 - 1)]


class PauseRequest(Strict):
    """Why nothing of this queue is to be claimed; shown to whoever asks why a task waits."""

    reason: str = Field("", max_length=1_000)


class LimitsRequest(Strict):
    """How many of its tasks may run at a time, and how many may wait; null lifts a limit, what is absent stays."""

    max_running: Limit | None = None
    max_pending: Limit | None = None
