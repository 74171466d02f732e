"""What callers send about keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from jobrunner.api.schemas import Strict
from jobrunner.queue.key import GRANTED

DAY = 86_400.0


class KeyRequest(Strict):
    """A new key. ``queues`` null means all; ``expires_in`` in seconds, null for ever; ``rate`` in requests a second."""

    name: str = Field(min_length=1, max_length=200)
    scopes: list[str] = Field(
        min_length=1, max_length=len(GRANTED), json_schema_extra={"examples": [["read", "submit"]]}
    )
    queues: list[str] | None = Field(None, max_length=1_000)
    expires_in: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class RotateRequest(Strict):
    """How long the old key goes on beside the new one, in seconds: a day, unless told."""

    overlap: float = Field(DAY, ge=0, allow_inf_nan=False)
