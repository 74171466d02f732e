"""What the calls about the fleet answer, as models: exact, since the OpenAPI document is made from them."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Told(BaseModel):
    """An answer in which every field is always there."""

    model_config = ConfigDict(extra="forbid")


class QueueAnswer(Told):
    """One queue. ``pending`` and ``running`` are counted up to 10,000; limits are null where there is none."""

    name: str
    paused: bool
    paused_at: AwareDatetime | None
    paused_by: str | None
    pause_reason: str | None
    max_running: int | None
    max_pending: int | None
    pending: int
    running: int


class QueuesAnswer(Told):
    """The queues, by name."""

    queues: list[QueueAnswer]
