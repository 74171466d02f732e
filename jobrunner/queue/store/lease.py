"""Leases: prolonged, proved, given back, and taken back when they went stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, Text, bindparam, case, literal, null, select, update

from jobrunner.db.tables import RUNNING, tasks
from jobrunner.db.types import Id, among, db_now, keyed, rowtable
from jobrunner.queue.store.attempts import ended
from jobrunner.queue.task import LOSS_BUDGET, Ending, Lease, Status, Task

_t = tasks.c


def held(lease: Any) -> tuple[ColumnElement[bool], ...]:
    """True for the row only while this very attempt is running: the fence of every write to a running task.

    A row has a token exactly while it is running (a CHECK of the table). To ask for the status as well let PostgreSQL
    go through the index of all running tasks where its statistics knew of none.
    """
    return (_t.id == lease.id, _t.token == lease.token)


def held_rows(rows: CTE) -> tuple[ColumnElement[Any], ...]:
    """The same for each of many: ``rows`` has their ``id`` and ``token``, and is joined by this."""
    return (keyed(_t.id, select(rows.c.id)), *held(rows.c))


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal found. Of leases in none of the sets nothing is known: their rows were locked."""

    renewed: frozenset[Lease]
    cancelled: frozenset[Lease]  # renewed, and somebody asked for a cancel
    lost: frozenset[Lease]


_HELD = rowtable("held", id=Id, token=Text())


def _rows(leases: Sequence[Lease]) -> dict[str, Any]:
    return {"held": [{"id": lease.id, "token": lease.token} for lease in leases]}


def renew(conn: Connection, leases: Sequence[Lease], lease_seconds: float) -> Renewal:
    """Prolong leases. A late renewal with the current token succeeds: nobody took the task in the meantime.

    Rows that somebody has locked are skipped, and so unknown, never lost: waiting for one handler's transaction on
    its own row once blocked the renewal of all others for 3.5 s.
    """
    if not leases:
        return Renewal(frozenset(), frozenset(), frozenset())
    found = conn.execute(_renew(), {**_rows(leases), "lease_seconds": lease_seconds}).all()
    asked = {(row.id, row.token): row.cancel_requested_at is not None for row in found}
    renewed = [lease for lease in leases if (lease.id, lease.token) in asked]
    return Renewal(
        frozenset(renewed),
        frozenset(lease for lease in renewed if asked[lease.id, lease.token]),
        _lost(conn, [lease for lease in leases if (lease.id, lease.token) not in asked]),
    )


def _ours() -> tuple[ColumnElement[Any], ...]:
    # Not joined: told which id goes with which token, a plan compared each of 1,400 leases with each of the rows, which
    # took half a second. Who asks looks at both; a row with the token of another of his own claims is his as well.
    return among(_t.id, select(_HELD.c.id)), among(_t.token, select(_HELD.c.token).distinct())


@cache
def _renew() -> Any:
    mine = select(_t.id).where(*_ours()).with_for_update(skip_locked=True).cte("mine")
    return (
        update(tasks)
        .where(among(_t.id, select(mine.c.id)))
        .values(lease_until=db_now(bindparam("lease_seconds")))
        .returning(_t.id, _t.token, _t.cancel_requested_at)
    )


def _lost(conn: Connection, doubtful: Sequence[Lease]) -> frozenset[Lease]:
    if not doubtful:
        return frozenset()
    found = conn.execute(select(_t.id, _t.token).where(*_ours()), _rows(doubtful))
    kept = {(row.id, row.token) for row in found}
    return frozenset(lease for lease in doubtful if (lease.id, lease.token) not in kept)


def holds(conn: Connection, lease: Lease) -> bool:
    """Whether this attempt still owns its task, made certain until the transaction ends by locking its row.

    Call it last before COMMIT: what was written before it then stands only if the lease does.
    """
    statement = select(_t.id).where(*held(lease)).with_for_update(key_share=True)
    return conn.execute(statement).first() is not None


def release(conn: Connection, claimed: Sequence[Task], reason: str, delay: float = 0.0) -> list[int]:
    """running -> pending, uncharged: what was not finished is given back unharmed. Returns the row ids given back.

    A task whose cancel was asked for meanwhile is cancelled instead.
    """
    if not claimed:
        return []
    asked = _t.cancel_requested_at.is_not(None)
    statement = (
        update(tasks)
        .where(*held_rows(_HELD))
        .values(
            status=case((asked, Status.CANCELLED), else_=Status.PENDING),
            releases=_t.releases + 1,
            run_at=db_now(bindparam("delay")),
            token=null(),
            lease_until=null(),
            finished_at=case((asked, db_now()), else_=null()),
        )
        .returning(_t.id)
    )
    rows = conn.execute(statement, {**_rows([task.lease for task in claimed]), "delay": delay}).all()
    given_back = [row.id for row in rows]
    ended(conn, [{"id": row_id, "outcome": Ending.RELEASED, "error": reason} for row_id in given_back])
    return given_back


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """One task whose node died: where it went."""

    task_id: str
    status: Status
    node_id: str | None


def reclaim(conn: Connection, limit: int = 500, *, all_leases: bool = False) -> list[Reclaimed]:
    """running -> pending: take back leases that went stale; a spent loss budget fails the task, a cancel ends it.

    ``all_leases`` takes every lease, stale or not: for a process that knows it is the only one. One guarded
    statement: what is renewed or settled in between is not touched. Rows that are locked are left for the next round.
    """
    stale = select(_t.id).where(RUNNING)
    if not all_leases:
        stale = stale.where(_t.lease_until < db_now())
    taken = stale.order_by(_t.lease_until).limit(limit).with_for_update(skip_locked=True).cte("stale")
    asked = _t.cancel_requested_at.is_not(None)
    spent = _t.losses + 1 >= LOSS_BUDGET
    final = asked | spent
    statement = (
        update(tasks)
        .where(among(_t.id, select(taken.c.id)))
        .values(
            status=case((asked, Status.CANCELLED), (spent, Status.FAILED), else_=Status.PENDING),
            losses=_t.losses + 1,
            run_at=case((final, _t.run_at), else_=db_now()),
            token=null(),
            lease_until=null(),
            finished_at=case((final, db_now()), else_=null()),
            error=case(
                (asked, _t.error),  # the reason of the cancel
                (spent, literal(f"its node died {LOSS_BUDGET} times")),
                else_=_t.error,
            ),
        )
        .returning(_t.id, _t.task_id, _t.status, _t.node_id)
    )
    rows = conn.execute(statement).all()
    lost = "its node stopped renewing the lease"
    ended(conn, [{"id": row.id, "outcome": Ending.LOST, "error": lost} for row in rows])
    return [Reclaimed(row.task_id, Status(row.status), row.node_id) for row in rows]
