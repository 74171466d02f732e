"""Which pending tasks a worker may take, most urgent first: the one hot question, asked by lane.

A lane is a (queue, task type, priority). Each is probed at the head of its own stretch of ``ix_tasks_due``, so that
tasks that are not due, of a paused or another queue, or of a type that this worker does not know are never walked
over. The two databases share the rule and the tests; only PostgreSQL has row locks and LATERAL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, Integer, Select, bindparam, func, literal_column, select, true
from sqlalchemy.sql.elements import ColumnElement

from jobrunner.db.tables import queues, tasks
from jobrunner.db.types import Name, db_now, rowset

_t = tasks.c

# Spelled out, not bound: the planner matches it with the partial index's own condition.
PENDING = _t.status == literal_column("'pending'")


def due_ids(dialect: str, *, every_queue: bool) -> CTE:
    """The ids of due tasks in the order priority, run_at, id, locked where the database has row locks.

    Bound parameters: ``types`` and (unless ``every_queue``) ``listened``, rows with a ``name``; ``wanted``, how many.
    """
    return (_locked if dialect == "postgresql" else _plain)(every_queue).cte("due")


def waiting_queues() -> Select[Any]:
    """The names of queues in which anything is pending, each found with one probe of the index."""
    first = select(func.min(_t.queue).label("name")).where(PENDING).cte("waiting", recursive=True)
    following = select(func.min(_t.queue)).where(PENDING, _t.queue > first.c.name).scalar_subquery()
    waiting = first.union_all(select(following).where(first.c.name.is_not(None)))
    return select(waiting.c.name).where(waiting.c.name.is_not(None))


def _lanes(every_queue: bool) -> CTE:
    """(queue, task type) pairs that are worth a look: listened to, known, not paused."""
    listened = waiting_queues().subquery("listened") if every_queue else rowset("listened", name=Name)
    known = rowset("types", name=Name)
    paused = select(queues.c.name).where(queues.c.paused_at.is_not(None))
    return (
        select(listened.c.name.label("queue"), known.c.name.label("task_type"))
        .select_from(listened.join(known, true()))
        .where(listened.c.name.not_in(paused))
        .cte("lanes")
    )


def _in_lane(lanes: CTE, priority: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
    return (
        PENDING,
        _t.queue == lanes.c.queue,
        _t.task_type == lanes.c.task_type,
        _t.priority == priority,
        _t.run_at <= db_now(),
        (_t.expires_at.is_(None)) | (_t.expires_at > db_now()),
    )


def _locked(every_queue: bool) -> Select[Any]:
    """PostgreSQL: priority by priority, so that less urgent lanes are neither read nor locked once enough is found."""
    wanted = bindparam("wanted", type_=Integer)
    lanes = _lanes(every_queue)
    priority = func.generate_series(1, 10).table_valued("priority").render_derived("p")
    head = (
        select(_t.id, _t.run_at)
        .where(*_in_lane(lanes, priority.c.priority))
        .order_by(_t.run_at, _t.id)
        .limit(wanted)
        .with_for_update(skip_locked=True)
        .correlate(lanes, priority)
        .lateral("head")
    )
    merged = (
        select(head.c.id)
        .select_from(lanes.join(head, true()))
        .order_by(head.c.run_at, head.c.id)
        .limit(wanted)
        .correlate(priority)
        .lateral("merged")
    )
    return select(merged.c.id).select_from(priority.join(merged, true())).limit(wanted)


def _plain(every_queue: bool) -> Select[Any]:
    """SQLite: one writer, hence no locks; ``json_each`` over a correlated query stands in for LATERAL."""
    wanted = bindparam("wanted", type_=Integer)
    lanes = _lanes(every_queue)
    priority = func.json_each("[1,2,3,4,5,6,7,8,9,10]").table_valued("value", name="priority")
    head = (
        select(_t.id)
        .where(*_in_lane(lanes, priority.c.value))
        .order_by(_t.run_at, _t.id)
        .limit(wanted)
        .correlate(lanes, priority)
        .subquery("head")
    )
    found = func.json_each(
        select(func.json_group_array(head.c.id)).correlate(lanes, priority).scalar_subquery()
    ).table_valued("value", name="found")
    task = tasks.alias("task")
    return (
        select(task.c.id)
        .select_from(lanes.join(priority, true()).join(found, true()).join(task, task.c.id == found.c.value))
        .order_by(task.c.priority, task.c.run_at, task.c.id)
        .limit(wanted)
    )
