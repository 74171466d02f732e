"""What callers send about queues, nodes and many tasks at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jobrunner.api.schemas import Moment, Name, Strict
from jobrunner.api.spelled import any_of, one_of, whole
from jobrunner.queue.operation import IDS_MOST
from jobrunner.queue.store import Chosen
from jobrunner.queue.task import Status
from jobrunner.queue.views import TaskFilter
from jobrunner.text import NAME_MAX

_Status = Literal["pending", "running", "completed", "failed", "cancelled"]
Limit = Annotated[int, Field(ge=1, le=2**31 - 1), BeforeValidator(whole)]


class ProbeQuery(BaseModel):
    """Which node the prober means. Other parameters are left alone: probers add some against caches."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    node: Name | None = None
    """The id of a node: ``is_node`` tells whether it is this process."""


class PauseRequest(Strict):
    """Why nothing of this queue is to be claimed."""

    reason: str = Field("", max_length=1_000)
    """Shown to whoever asks why a task waits."""


class LimitsRequest(Strict):
    """The limits of a queue; null lifts one, what is absent stays."""

    max_running: Limit | None = None
    """How many of its tasks may run at a time, over all nodes."""
    max_pending: Limit | None = None
    """How many may wait, due or later: then submissions by REST are refused with 429."""


class PurgeRequest(Strict):
    """How to empty a queue."""

    dry_run: bool = False
    """Count what waits in the queue, and cancel nothing."""


class FilterRequest(Strict):
    """Which tasks, as in the list of tasks: those that fit all that is given, of which there must be something."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(any_of(schema["properties"])))

    status: Annotated[list[_Status], Field(fail_fast=True)] | None = Field(None, min_length=1)
    """Any of these."""
    type: Name | None = None
    """Their task_type."""
    queue: Name | None = None
    """Where they wait or ran."""
    tag: Name | None = None
    """A word among their tags."""
    node: Name | None = None
    """The id of the node that has, or had, them last."""
    created_after: Moment | None = None
    """Submitted at this instant or later."""
    created_before: Moment | None = None
    """Submitted before this instant."""
    q: str | None = Field(None, min_length=1, max_length=NAME_MAX)
    """How their task_id begins."""

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
    """What to do, and to which tasks."""

    model_config = ConfigDict(json_schema_extra=one_of("filter", "ids"))

    action: Literal["cancel", "retry", "delete", "rerun"]
    """Cancel what is pending or running, retry what failed or was cancelled, delete what has ended, or run tasks like
    those that have ended."""
    filter: FilterRequest | None = None
    """Those that fit; what is submitted after the operation began is not met."""
    ids: Annotated[list[Name], Field(fail_fast=True)] | None = Field(None, min_length=1, max_length=IDS_MOST)
    """Those with these task_ids, instead of ``filter``."""
    dry_run: bool = False
    """Count them, and change nothing."""

    @model_validator(mode="after")
    def _says_which(self) -> OperationRequest:
        if (self.filter is None) == (self.ids is None):
            raise ValueError("must have either filter or ids")
        return self

    def chosen(self) -> Chosen:
        """Which tasks."""
        return Chosen(ids=self.ids) if self.filter is None else Chosen(filter=self.filter.filter())
