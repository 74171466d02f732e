"""Claims from queues that limit how many of their tasks may run at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from jobrunner.db import direct
from jobrunner.db.due import LIMITED, PAUSED
from jobrunner.db.tables import RUNNING, queues, tasks
from jobrunner.queue.store.claim import Claimed, Room, claim_into

_t = tasks.c
_q = queues.c


def limited_queues(conn: Connection, names: Sequence[str] | None) -> frozenset[str]:
    """Those of these queues (None: of all) that have a limit on what runs."""
    found = frozenset(str(row[0]) for row in direct.fetch(conn, _limited(), {}))  # a worker asks once a second
    return found if names is None else found & frozenset(names)


@cache
def _limited() -> Select[Any]:
    return select(_q.name).where(LIMITED)


def claim_within(
    conn: Connection, node_id: str, rooms: Sequence[Room], *, queues: Sequence[str] | None, lease_seconds: float
) -> Claimed:
    """A full look (see :func:`jobrunner.queue.store.claim_into`) that also takes from limited queues what they allow.

    In one transaction, whose end lets others claim from them: who claims from one has locked its row, and counts what
    runs only then, so that two at once cannot both take the last place. A row that another claimer holds is passed
    over, and that queue with it, until the next look. Tasks that a claim took under way as the limit was set may make
    more run than it says, until they end.
    """
    held = (
        select(_q.name, _q.max_running)
        .where(LIMITED, ~PAUSED, *_among(queues))
        .order_by(_q.name)
        .with_for_update(skip_locked=True)
    )
    most = {row.name: row.max_running for row in conn.execute(held)}
    room: dict[str, int] = {}
    if most:
        # Along the index of what runs, which is no more than there are slots: an own index would cost every claim.
        run = select(_t.queue, func.count()).where(RUNNING, _t.queue.in_(sorted(most))).group_by(_t.queue)
        count = {row[0]: row[1] for row in conn.execute(run)}
        room = {name: limit - count.get(name, 0) for name, limit in most.items() if limit > count.get(name, 0)}
    return claim_into(conn, node_id, rooms, queues=queues, lease_seconds=lease_seconds, limited=room)


def _among(names: Sequence[str] | None) -> list[ColumnElement[bool]]:
    return [] if names is None else [_q.name.in_(list(names))]
