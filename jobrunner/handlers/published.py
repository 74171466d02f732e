"""Task types that only other processes have: what these published, kept for a second."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from jobrunner.errors import InvalidInput, Problem
from jobrunner.queue import store
from jobrunner.text import has_controls

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

TOLD = 500  # characters of what jsonschema says of one value, which it quotes whole
FRESH = 1.0  # seconds for which a type is not looked up again; one that is not known is looked up each time


@dataclass(frozen=True, slots=True)
class Published:
    """A task type as its worker told it: the defaults of its tasks, and the JSON Schema (text) of their payloads."""

    queue: str | None
    priority: int | None
    max_attempts: int | None
    timeout: float | None
    schema: str

    def check(self, payload: dict[str, Any]) -> None:
        """Raises InvalidInput with pointers under ``/task_data`` where the payload does not fit."""
        problems = [
            Problem("/".join(["/task_data", *(str(step) for step in error.absolute_path)]), error.message[:TOLD])
            for error in _validator(self.schema).iter_errors(payload)
        ]
        if problems:
            raise InvalidInput("the arguments are refused", problems)


_seen: WeakKeyDictionary[Engine, dict[str, tuple[float, Published]]] = WeakKeyDictionary()


def published(conn: Connection, names: Collection[str]) -> dict[str, Published]:
    """The types of these names that somebody published, each as it was at most a second ago."""
    moment = time.monotonic()
    seen = _seen.setdefault(conn.engine, {})
    known = {name: kept[1] for name in names if (kept := seen.get(name)) is not None and kept[0] > moment}
    unsure = [name for name in names if name not in known and isinstance(name, str) and not has_controls(name)]
    if unsure:
        for name, row in store.published(conn, unsure).items():
            known[name] = Published(row.queue, row.priority, row.max_attempts, row.timeout, row.schema)
            seen[name] = (moment + FRESH, known[name])
    return known


@lru_cache(maxsize=256)
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # 2 MB that a worker has no use for

    return Draft202012Validator(json.loads(schema))
