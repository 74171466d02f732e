"""What the newer calls on tasks answer with, as models."""

from __future__ import annotations

from jobrunner.api.answers import Exact
from jobrunner.api.problems import ProblemModel
from jobrunner.queue.task import Status


class BatchTaken(Exact):
    """A task of a batch that stands in the queue: ``status`` 202 where the batch made it, 200 where it was there."""

    index: int
    status: int
    task_id: str
    task_status: Status


class BatchRefused(Exact):
    """A task of a batch that was not stored; pointers lead into that task."""

    index: int
    status: int
    problem: ProblemModel


class BatchAnswer(Exact):
    """One result for each task of a batch, in its order; ``accepted`` stand in the queue, ``refused`` do not."""

    results: list[BatchTaken | BatchRefused]
    accepted: int
    refused: int
