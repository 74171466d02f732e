"""What callers send about queues, nodes and many tasks at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from jobrunner.api.schemas import Moment, Name, Strict
from jobrunner.api.spelled import any_of, one_of, whole
from jobrunner.queue.operation import IDS_MOST
from jobrunner.queue.request import NAME_MAX
from jobrunner.queue.store import Chosen
from jobrunner.queue.task import Status
from jobrunner.queue.views import TaskFilter

Limit = Annotated[int, Field(ge=1, le=2**31 - 1), BeforeValidator(whole)]


class PauseRequest(Strict):
    """Why nothing of this queue is to be claimed; shown to whoever asks why a task waits."""

    reason: str = Field("", max_length=1_000)


class LimitsRequest(Strict):
    """How many of its tasks may run at a time, and how many may wait; null lifts a limit, what is absent stays."""

    max_running: Limit | None = None
    max_pending: Limit | None = None


class PurgeRequest(Strict):
    """``dry_run`` counts what waits in the queue, and cancels nothing."""

    dry_run: bool = False


class FilterRequest(Strict):
    """Which tasks, as in the list of tasks: those that fit all that is given, of which there must be something."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=lambda schema: schema.update(any_of(schema["properties"]))
    )

    status: list[Literal["pending", "running", "completed", "failed", "cancelled"]] | None = Field(None, min_length=1)
    type: Name | None = None
    queue: Name | None = None
    tag: Name | None = None
    node: Name | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    q: str | None = Field(None, min_length=1, max_length=NAME_MAX)

    @model_validator(mode="after")
    def _says_something(self) -> FilterRequest:
        if not self.model_dump(exclude_none=True):
            raise ValueError("must say which tasks: an empty filter would be all of them")
        return self

    def filter(self) -> TaskFilter:
        """What is wished for."""
        return TaskFilter(
            statuses=tuple(map(Status, self.status or ())),
            task_type=self.type,
            queue=self.queue,
            tag=self.tag,
            node=self.node,
            created_after=self.created_after,
            created_before=self.created_before,
            prefix=self.q,
        )


class OperationRequest(Strict):
    """What to do, and to which tasks: those that fit ``filter``, or those of ``ids``. ``dry_run`` only counts them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=one_of("filter", "ids"))

    action: Literal["cancel", "retry", "delete"]
    filter: FilterRequest | None = None
    ids: list[Name] | None = Field(None, min_length=1, max_length=IDS_MOST)
    dry_run: bool = False

    @model_validator(mode="after")
    def _says_which(self) -> OperationRequest:
        if (self.filter is None) == (self.ids is None):
            raise ValueError("must have either filter or ids")
        return self

    def chosen(self) -> Chosen:
        """Which tasks."""
        return Chosen(ids=self.ids) if self.filter is None else Chosen(filter=self.filter.filter())
