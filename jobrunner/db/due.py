"""Which pending tasks a worker may take, most urgent first: the one hot question, asked by lane.

A lane is a (queue, task type, priority). Each is probed at the head of its own stretch of ``ix_tasks_due``, so that
tasks that are not due, of a paused or another queue, or of a type that this worker does not know are never walked
over. A full look finds the lanes by itself. A short look is told them, each with the place of the last task that was
taken there, and begins at that place, or ``since`` where that is earlier: index entries of tasks that were taken before
it stay as long as anybody holds an old transaction open, and walking over them made a claim six times dearer within a
minute.

A queue with a limit on what runs is passed over like a paused one, so that queues without cost nothing more. Who has
locked its row, and so knows for certain how many more may run, tells that to a full look.

The two databases share the rule and the tests; only PostgreSQL has row locks and LATERAL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, Integer, Select, Text, and_, bindparam, case, func, or_, select, true, tuple_
from sqlalchemy.sql.elements import ColumnElement

from jobrunner.db.tables import PENDING, RUNNING, queues, tasks
from jobrunner.db.types import Id, Name, UTCDateTime, db_now, rowset

_t = tasks.c

PAUSED = queues.c.paused_at.is_not(None)
LIMITED = queues.c.max_running.is_not(None)
FULL = LIMITED & (
    queues.c.max_running
    <= select(func.count())
    .select_from(tasks)
    .where(RUNNING, _t.queue == queues.c.name)
    .correlate(queues)
    .scalar_subquery()
)
DUE = _t.run_at <= db_now()
IN_TIME = or_(_t.expires_at.is_(None), _t.expires_at > db_now())
"""In what words a claim asks; whoever tells why a task is not claimed asks in the same."""


def due_ids(dialect: str, *, every_queue: bool, known_lanes: bool, limited: bool = False) -> CTE:
    """The ids of due tasks in the order priority, run_at, id, locked where the database has row locks.

    Bound parameters: ``rooms``, rows of (kind, wanted), how many tasks to find of each kind; and for a short look
    (``known_lanes``) ``lanes``, rows of (kind, queue, task_type, priority, run_at, id), and ``since``, in seconds from
    now, else ``types``, rows of (kind, name), and (unless ``every_queue``) ``listened``, rows with a ``name``. A full
    look that is ``limited`` takes from the queues that ``limited`` names, rows of (name, room), up to ``room`` tasks
    each, and else from none that has a limit.
    """
    lanes = _known_lanes() if known_lanes else _lanes(every_queue, limited)
    return (_locked if dialect == "postgresql" else _plain)(lanes).cte("due")


def waiting_queues() -> Select[Any]:
    """The names of queues in which anything is pending, each found with one probe of the index."""
    # Not min(): where statistics know of nothing pending, PostgreSQL would take it over everything that is.
    head = select(_t.queue).where(PENDING).order_by(_t.queue).limit(1)
    first = select(head.scalar_subquery().label("name")).cte("waiting", recursive=True)
    following = head.where(_t.queue > first.c.name).correlate(first).scalar_subquery()
    waiting = first.union_all(select(following).where(first.c.name.is_not(None)))
    return select(waiting.c.name).where(waiting.c.name.is_not(None))


def _rooms() -> Any:
    return rowset("rooms", kind=Text(), wanted=Integer())


def _open(queue: ColumnElement[str]) -> ColumnElement[bool]:
    return queue.not_in(select(queues.c.name).where(or_(PAUSED, LIMITED)))


def _lanes(every_queue: bool, limited: bool) -> CTE:
    """Every (queue, task type) that is worth a look: listened to, known, neither paused nor full."""
    listened: Any = waiting_queues().subquery("listened") if every_queue else rowset("listened", name=Name)
    known = rowset("types", kind=Text(), name=Name)
    looked_at = select(known.c.kind, listened.c.name.label("queue"), known.c.name.label("task_type"))
    if limited:
        told = rowset("limited", name=Name, room=Integer())
        closed = select(queues.c.name).where(or_(PAUSED, and_(LIMITED, queues.c.name.not_in(select(told.c.name)))))
        within = rowset("limited", name=Name, room=Integer()).alias("within")
        looked_at = (
            looked_at.add_columns(within.c.room)
            .select_from(listened.join(known, true()).outerjoin(within, within.c.name == listened.c.name))
            .where(listened.c.name.not_in(closed))
        )
    else:
        looked_at = looked_at.select_from(listened.join(known, true())).where(_open(listened.c.name))
    return looked_at.cte("looked_at").prefix_with("MATERIALIZED", dialect="postgresql")


def _known_lanes() -> CTE:
    """Lanes that gave tasks lately, each with the place of the last one."""
    told = rowset("lanes", kind=Text(), queue=Name, task_type=Name, priority=Integer(), run_at=UTCDateTime(), id=Id)
    return select(told).where(_open(told.c.queue)).cte("looked_at").prefix_with("MATERIALIZED", dialect="postgresql")


def _in_lane(lanes: CTE, priority: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
    within = (
        PENDING,
        _t.queue == lanes.c.queue,
        _t.task_type == lanes.c.task_type,
        _t.priority == priority,
        DUE,
        IN_TIME,
    )
    return (*within, _after(lanes)) if "run_at" in lanes.c else within


def _after(lanes: CTE) -> ColumnElement[bool]:
    # Tasks commit a little later than the clock says, so that one may appear before the last that was taken.
    since = db_now(bindparam("since"))
    settled = lanes.c.run_at <= since
    place = case((settled, lanes.c.run_at), else_=since), case((settled, lanes.c.id), else_=0)
    return tuple_(_t.run_at, _t.id) > tuple_(*place)


def _locked(lanes: CTE) -> Select[Any]:
    """PostgreSQL: priority by priority, so that less urgent lanes are neither read nor locked once enough is found."""
    rooms = _rooms()
    priority = func.generate_series(1, 10).table_valued("priority").render_derived("p")
    limits = [lanes.c.queue, lanes.c.room] if "room" in lanes.c else []
    most: Any = func.least(rooms.c.wanted, lanes.c.room) if limits else rooms.c.wanted  # LEAST passes over NULL
    head = (
        select(_t.id, _t.run_at)
        .where(*_in_lane(lanes, priority.c.priority))
        .order_by(_t.run_at, _t.id)
        .limit(most)
        .with_for_update(skip_locked=True)
        .correlate(rooms, lanes, priority)
        .lateral("head")
    )
    here = lanes.c.kind == rooms.c.kind
    if "priority" in lanes.c:
        here &= lanes.c.priority == priority.c.priority
    merged = (
        select(head.c.id, *([head.c.run_at, *limits] if limits else []))
        .select_from(lanes.join(head, true()))
        .where(here)
        .order_by(head.c.run_at, head.c.id)
        .limit(rooms.c.wanted)
        .correlate(rooms, priority)
        .lateral("merged")
    )
    found = (
        select(*merged.c, *([priority.c.priority] if limits else []))
        .select_from(priority.join(merged, true()))
        .limit(rooms.c.wanted)
        .correlate(rooms)
        .lateral("found")
    )
    taken = select(*found.c).select_from(rooms.join(found, true()))
    return _within_limits(taken) if limits else taken


def _within_limits(found: Select[Any]) -> Select[Any]:
    """Of tasks that were found, as many of each limited queue as it has room for: whatever their kind and lane.

    The heads alone do not keep it, since a queue has many lanes. What is left out here is found by the next look.
    """
    one = found.subquery("one")
    order = (one.c.priority, one.c.run_at, one.c.id)
    turn = func.row_number().over(partition_by=one.c.queue, order_by=order)
    told = select(one.c.id, one.c.room, turn.label("turn")).subquery("turns")
    return select(told.c.id).where(or_(told.c.room.is_(None), told.c.turn <= told.c.room))


def _plain(lanes: CTE) -> Select[Any]:
    """SQLite: one writer, hence no locks; ``json_each`` over a correlated query stands in for LATERAL.

    Its LIMIT takes no columns: each lane gives as many as the largest room, and every room then takes its first ones.
    """
    rooms = _rooms()
    most = select(func.max(_rooms().c.wanted)).scalar_subquery()
    priority = func.json_each("[1,2,3,4,5,6,7,8,9,10]").table_valued("value", name="priority")
    head = (
        select(_t.id)
        .where(*_in_lane(lanes, priority.c.value))
        .order_by(_t.run_at, _t.id)
        .limit(most)
        .correlate(lanes, priority)
        .subquery("head")
    )
    listed = func.json_each(
        select(func.json_group_array(head.c.id)).correlate(lanes, priority).scalar_subquery()
    ).table_valued("value", name="listed")
    task = tasks.alias("task")
    place = func.row_number().over(partition_by=rooms.c.kind, order_by=(task.c.priority, task.c.run_at, task.c.id))
    here = lanes.c.kind == rooms.c.kind
    if "priority" in lanes.c:
        here &= lanes.c.priority == priority.c.value
    found = rooms.join(lanes, true()).join(priority, here).join(listed, true()).join(task, task.c.id == listed.c.value)
    placed = select(task.c.id, rooms.c.wanted, place.label("place")).select_from(found)
    if "room" in lanes.c:
        of_queue = select(task.c.id, task.c.queue, lanes.c.room, task.c.priority, task.c.run_at).select_from(found)
        placed = placed.where(task.c.id.in_(_within_limits(of_queue)))
    ranked = placed.subquery("ranked")
    return select(ranked.c.id).where(ranked.c.place <= ranked.c.wanted)
