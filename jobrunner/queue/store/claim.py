"""pending -> running."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, null, select, type_coerce, update
from sqlalchemy.types import NULLTYPE

from jobrunner.db import direct
from jobrunner.db.due import due_ids
from jobrunner.db.tables import tasks
from jobrunner.db.types import among, db_now, spelled
from jobrunner.queue.task import Lease, Status, Task

_t = tasks.c

LATE = 0.25  # seconds by which a commit may come after its task's run_at and still be found by a short look


@dataclass(frozen=True, slots=True)
class Room:
    """How many tasks of these types there is room for. Rooms of one call are told apart by ``kind``."""

    kind: str
    types: tuple[str, ...]
    wanted: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its lane (kind of room, queue, task type, priority) the last task was taken."""

    kind: str
    queue: str
    task_type: str
    priority: int
    run_at: Any  # as the database spells it
    id: int

    @property
    def lane(self) -> tuple[str, str, int]:
        """Which lane it is in: its type names the room."""
        return self.queue, self.task_type, self.priority


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim took, most urgent first, the place of the last in each lane that gave any, and how many."""

    tasks: list[Task]
    places: list[Place]
    taken: dict[str, int]  # by kind of room


def claim(
    conn: Connection,
    node_id: str,
    *,
    types: Sequence[str],
    queues: Sequence[str] | None,
    limit: int,
    lease_seconds: float,
) -> list[Task]:
    """pending -> running: up to ``limit`` due tasks of these types; see :func:`claim_into`. Of no limited queue."""
    return claim_into(conn, node_id, [Room("", tuple(types), limit)], queues=queues, lease_seconds=lease_seconds).tasks


def claim_into(
    conn: Connection,
    node_id: str,
    rooms: Sequence[Room],
    *,
    queues: Sequence[str] | None,
    lease_seconds: float,
    after: Sequence[Place] | None = None,
    late: float = LATE,
    limited: Mapping[str, int] | None = None,
) -> Claimed:
    """pending -> running: for each room up to ``wanted`` due tasks, most urgent first, each with a fresh lease.

    One statement. ``queues`` None means every queue. The attempt is counted here, so that a task that kills its worker
    must end. One random token serves all tasks of one call; it proves this claim, and no other claim ever has it.

    ``after`` makes it a short look: only into these lanes, and only behind these places, or behind ``late`` seconds ago
    where that is earlier. What it cannot see (a new lane, a task that was committed later or put back) is left for a
    full look. Nor does it take from a queue with a limit on what runs, as neither does a full one but from those that
    ``limited`` names, so many tasks each: see :func:`jobrunner.queue.store.limits.claim_within`.
    """
    rooms = [room for room in rooms if room.types and room.wanted > 0]
    if not rooms or (after is not None and not after):
        return Claimed([], [], {})
    kinds = {name: room.kind for room in rooms for name in room.types}
    token = secrets.token_hex(16)
    given: dict[str, Any] = {
        "rooms": [{"kind": room.kind, "wanted": room.wanted} for room in rooms],
        "claimed_token": token,
        "claimed_node": node_id,
        "lease_seconds": lease_seconds,
    }
    if after is None:
        given["types"] = [{"kind": kind, "name": name} for name, kind in kinds.items()]
        if queues is not None:
            given["listened"] = [{"name": name} for name in queues]
        if limited:
            given["limited"] = [{"name": name, "room": room} for name, room in limited.items()]
    else:
        given["lanes"] = [{name: getattr(place, name) for name in Place.__slots__} for place in after]
        given["since"] = -late
    statement = _statement(conn.dialect.name, queues is None, after is not None, "limited" in given)
    found = direct.fetch(conn, statement, given)
    taken = dict.fromkeys((room.kind for room in rooms), 0)
    last: dict[tuple[str, str, int], Any] = {}
    made: list[Task] = []
    for row in sorted(found, key=_URGENCY):
        task = Task(Lease(row[0], token, row[1]), *row[2:-1])
        made.append(task)
        taken[kinds[task.task_type]] += 1
        last[task.task_type, task.queue, task.priority] = row
    places = [Place(kinds[name], queue, name, level, row[-1], row[0]) for (name, queue, level), row in last.items()]
    return Claimed(made, places, taken)


@cache
def _statement(dialect: str, every_queue: bool, short: bool, limited: bool) -> Any:
    # What is due stays so: its rows are locked, or nobody else writes.
    due = due_ids(dialect, every_queue=every_queue, known_lanes=short, limited=limited)
    return (
        update(tasks)
        .where(among(_t.id, select(due.c.id)))
        .values(
            status=Status.RUNNING,
            attempt=_t.attempt + 1,
            token=bindparam("claimed_token"),
            node_id=bindparam("claimed_node"),
            lease_until=db_now(bindparam("lease_seconds")),
            started_at=db_now(),
            progress=null(),
            message=null(),
        )
        # The payload and the moment as the database spells them: converting each cost as much as fetching it.
        .returning(
            _t.id,
            _t.attempt,
            *(type_coerce(_t[name], NULLTYPE) for name in _FACTS),
            spelled(_t.run_at).label("due_at"),
        )
    )


_FACTS = tuple(field.name for field in fields(Task)[1:])
_URGENCY = itemgetter(2 + _FACTS.index("priority"), -1, 0)  # priority, run_at, id
