"""What callers send about keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, WithJsonSchema

from jobrunner.api.schemas import Strict
from jobrunner.api.spelled import NAME, Delay, NameText
from jobrunner.queue.key import GRANTED
from jobrunner.queue.store.keys import LASTS_MOST, RATES

DAY = 86_400.0
SCOPES = {"type": "array", "minItems": 1, "items": {"enum": [str(scope) for scope in GRANTED]}}
QUEUES = {"type": "array", "minItems": 1, "items": NAME}
LASTS = {"type": "number", "exclusiveMinimum": 0, "maximum": LASTS_MOST}
RATE = {"type": "number", "minimum": RATES[0], "maximum": RATES[1]}


class KeyRequest(Strict):
    """A new key."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["queues"],
                "properties": {"queues": {"type": "array"}, "scopes": {"contains": {"const": "admin"}}},
            }
        }
    )

    name: NameText
    """Whose it is; the audit tells it beside each change."""
    scopes: Annotated[list[str], Field(fail_fast=True), WithJsonSchema(SCOPES)]
    """What it opens; ``admin`` opens all that the others do."""
    queues: Annotated[list[str], Field(fail_fast=True), WithJsonSchema(QUEUES)] | None = None
    """The only queues that it sees; null means all."""
    expires_in: Annotated[float, WithJsonSchema(LASTS)] | None = None
    """Seconds until it ends; null means never."""
    rate: Annotated[float, WithJsonSchema(RATE)] | None = None
    """Requests a second that one server takes of it; null means any number."""


class RotateRequest(Strict):
    """How a key is replaced."""

    overlap: Delay = DAY
    """Seconds that the old key goes on beside the new one."""
