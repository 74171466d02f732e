"""What callers send about keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, WithJsonSchema

from jobrunner.api.schemas import Strict
from jobrunner.api.spelled import NAME, Delay, NameText
from jobrunner.queue.key import GRANTED
from jobrunner.queue.store.keys import LASTS_MOST, RATES

DAY = 86_400.0
SCOPES = {"type": "array", "minItems": 1, "items": {"enum": [str(scope) for scope in GRANTED]}}
LASTS = {"type": "number", "exclusiveMinimum": 0, "maximum": LASTS_MOST}
RATE = {"type": "number", "minimum": RATES[0], "maximum": RATES[1]}


class KeyRequest(Strict):
    """A new key. ``queues`` null means all; ``expires_in`` in seconds, null for ever; ``rate`` in requests a second."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "not": {
                "required": ["queues"],
                "properties": {"queues": {"type": "array"}, "scopes": {"contains": {"const": "admin"}}},
            }
        },
    )

    name: NameText
    scopes: Annotated[list[str], WithJsonSchema(SCOPES)]
    queues: Annotated[list[str], WithJsonSchema({"type": "array", "minItems": 1, "items": NAME})] | None = None
    expires_in: Annotated[float, WithJsonSchema(LASTS)] | None = None
    rate: Annotated[float, WithJsonSchema(RATE)] | None = None


class RotateRequest(Strict):
    """How long the old key goes on beside the new one, in seconds: a day, unless told."""

    overlap: Delay = DAY
