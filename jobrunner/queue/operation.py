"""Work on many tasks at once: what may be done to them. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from jobrunner.queue.task import ENDED, MOVES, Status

IDS_MOST = 1_000  # that one operation may name
COUNT_MOST = 10_000  # matches, at which a dry run stops counting


class Action(StrEnum):
    """What is done to each task."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"
    RERUN = "rerun"


OPEN_TO: Mapping[Action, frozenset[Status]] = {
    Action.CANCEL: frozenset({Status.PENDING, Status.RUNNING}),
    Action.RETRY: MOVES["retry"][0],
    Action.DELETE: ENDED,
    Action.RERUN: ENDED,
}
"""The statuses in which a task can be changed so; others are none of the operation's business."""
