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
    """``max_pending``: how many tasks may wait in this queue; null lifts the limit, what is absent stays as it is."""

    max_pending: Limit | None = None
