"""Why a task is not running, as the claim would find it at this moment."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, exists, func, literal, not_, select

from jobrunner.db.due import DUE, FULL, IN_TIME, PAUSED
from jobrunner.db.tables import RUNNING, nodes, queues, task_types, tasks
from jobrunner.errors import TaskNotFound
from jobrunner.queue.reasons import Able, Reason, Standing, reasons
from jobrunner.queue.task import Status
from jobrunner.queue.views.nodes import ALIVE

_t = tasks.c
_n = nodes.c
NODES_MOST = 1_000  # that are looked at


@dataclass(frozen=True)
class WhyView:
    """A task's status, and the reasons why it does not run: at least one."""

    task_id: str
    status: Status
    reasons: list[Reason]


def why(conn: Connection, task_id: str, *, node_id: str | None = None) -> WhyView:
    """The reasons, of all living nodes or as if ``node_id`` were the only one; raises TaskNotFound."""
    row = conn.execute(_standing(), {"wanted": task_id}).one_or_none()
    if row is None:
        raise TaskNotFound(task_id)
    task = _task(row)
    able = _nodes(conn, node_id) if task.status is Status.PENDING else []
    return WhyView(task_id, task.status, reasons(task, able))


@cache
def _standing() -> Select[Any]:
    return (
        select(
            *(_t[name] for name in ("status", "task_type", "queue", "run_at", "attempt", "node_id")),
            _t.cancel_requested_at,
            _t.lease_until,
            not_(exists().where(_n.id == _t.node_id, ALIVE).correlate(tasks)).label("left"),
            exists().where(task_types.c.name == _t.task_type).correlate(tasks).label("published"),
            DUE.label("due"),
            IN_TIME.label("in_time"),
            func.coalesce(PAUSED, literal(False)).label("paused"),
            queues.c.pause_reason,
            func.coalesce(FULL, literal(False)).label("full"),
            queues.c.max_running,
        )
        .select_from(tasks.outerjoin(queues, queues.c.name == _t.queue))
        .where(_t.task_id == bindparam("wanted"))
    )


def _task(row: Row[Any]) -> Standing:
    told = {**row._mapping, "status": Status(row.status)}
    told["cancel_requested"] = told.pop("cancel_requested_at") is not None
    for name in ("published", "due", "in_time", "paused", "full", "left"):
        told[name] = bool(told[name])
    return Standing(**told)


def _nodes(conn: Connection, node_id: str | None) -> list[Able]:
    found = select(nodes).where(ALIVE).order_by(_n.name, _n.id).limit(NODES_MOST)
    if node_id is not None:
        found = found.where(_n.id == node_id)
    # What a node holds by the tasks themselves: its own figures are as old as its last heartbeat.
    holds = select(_t.node_id, _t.task_type, func.count()).where(RUNNING).group_by(_t.node_id, _t.task_type)
    running: dict[str, dict[str, int]] = defaultdict(dict)
    for holder, task_type, count in conn.execute(holds):
        running[holder][task_type] = count
    return [_able(row, running[row.id]) for row in conn.execute(found)]


def _able(row: Row[Any], running: dict[str, int]) -> Able:
    types = frozenset(json.loads(row.types))
    told = json.loads(row.pools or "[]")
    pools = [(pool["slots"] - pool.get("stuck", 0), frozenset(pool["types"])) for pool in told]
    return Able(
        id=row.id,
        name=row.name,
        state=row.state,
        reason=row.reason,
        drains=row.drain_requested_at is not None,
        types=types,
        queues=None if row.queues is None else frozenset(json.loads(row.queues)),
        pools=tuple(pools) or ((row.slots - row.stuck, types),),  # an older worker tells of no pools
        running=running,
    )
