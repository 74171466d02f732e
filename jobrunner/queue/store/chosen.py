"""Which tasks an operation concerns, as it is kept with it."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from jobrunner.queue.task import Status
from jobrunner.queue.views.lists import TaskFilter

IDS_TOLD = 100  # in the audit; the operation has them all


@dataclass(frozen=True)
class Chosen:
    """Which tasks: those with these ids, or those that fit a filter."""

    ids: Sequence[str] | None = None
    filter: TaskFilter | None = None

    def spelled(self) -> str:
        """As JSON, to be kept."""
        told = {"ids": self.ids, "filter": None if self.filter is None else _plain(self.filter)}
        return json.dumps({name: value for name, value in told.items() if value is not None})

    def told(self) -> dict[str, Any]:
        """As the audit tells it: of many ids the first, and how many there are."""
        told: dict[str, Any] = json.loads(self.spelled())
        if self.ids is not None and len(self.ids) > IDS_TOLD:
            told = {"ids": list(self.ids[:IDS_TOLD]), "of": len(self.ids)}
        return told


def chosen_from(spelled: str, queues: Collection[str] | None) -> Chosen:
    """What was kept, among these queues alone (None: all)."""
    told = json.loads(spelled)
    if "ids" in told:
        return Chosen(ids=told["ids"], filter=TaskFilter(queues=queues))
    wish = dict(told["filter"])
    wish["statuses"] = tuple(Status(status) for status in wish.get("statuses", ()))
    for name in ("created_after", "created_before"):
        if name in wish:
            wish[name] = datetime.fromisoformat(wish[name])
    return Chosen(filter=TaskFilter(**{**wish, "queues": queues}))


def _plain(wish: TaskFilter) -> dict[str, Any]:
    """What is asked for, without what stands open."""
    told = {name: value for name, value in asdict(wish).items() if value not in (None, ()) and name != "queues"}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}
