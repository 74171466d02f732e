"""What old rows go, and that one call of prune stays short."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, update

from jobrunner.background.retention import prune
from jobrunner.db.engine import Database
from jobrunner.db.market import import_loads, import_outcomes, import_rejects
from jobrunner.db.tables import audit, tasks
from jobrunner.db.types import db_now
from jobrunner.errors import DatabaseUnavailable
from jobrunner.queue import store, views
from tests.both_databases.moves import add

DAY = 86_400.0
KEPT: dict[str, Any] = {"completed_days": 7.0, "failed_days": 30.0, "audit_days": 365.0}


def _load(conn: Connection, load_id: str, days_ago: float) -> None:
    """A load of the task of the same name, with one outcome and one rejected row."""
    load: dict[str, Any] = {"load_id": load_id, "task_id": load_id, "source": "tdx", "freq": "1d", "request": "{}"}
    conn.execute(insert(import_loads).values(**load, symbols=1, started_at=db_now(-days_ago * DAY)))
    counted = dict.fromkeys(("rows_read", "inserted", "updated", "unchanged", "rejected"), 1)
    outcome = {"load_id": load_id, "symbol": "a", "status": "imported", "seconds": 0.1, "attempt": 1, **counted}
    conn.execute(insert(import_outcomes).values(**outcome, at=db_now()))
    reject = {"load_id": load_id, "symbol": "a", "position": 1, "reason": "no date", "row": "{}"}
    conn.execute(insert(import_rejects).values(**reject))


def _left(conn: Connection) -> list[set[str]]:
    return [set(conn.execute(select(t.c.load_id)).scalars()) for t in (import_loads, import_outcomes, import_rejects)]


def test_a_load_goes_with_all_it_holds_once_it_is_old_and_its_task_is_gone(database: Database) -> None:
    add(database, task_id="has-task")
    with database.begin() as conn:
        for load_id, days_ago in (("oldest", 50), ("old", 40), ("has-task", 60), ("young", 29)):
            _load(conn, load_id, days_ago)
    for left in ({"old", "has-task", "young"}, {"has-task", "young"}, {"has-task", "young"}):
        with database.begin() as conn:
            store.prune_rest(conn, longest_days=30, loads=1)
            assert _left(conn) == [left] * 3


def _old_tasks(database: Database, count: int) -> None:
    for _ in range(count):
        add(database)
    with database.begin() as conn:
        conn.execute(update(tasks).values(status="completed", finished_at=db_now(-8 * DAY)))


def _count(database: Database) -> int:
    with database.read() as conn:
        return conn.execute(select(func.count()).select_from(tasks)).scalar_one()


def test_pruning_without_time_ends_one_batch_and_leaves_the_rest_for_later(database: Database) -> None:
    _old_tasks(database, 5)
    assert prune(database, **KEPT, budget=0, batch=2) == 2
    assert _count(database) == 3
    assert prune(database, **KEPT, budget=60, batch=2) == 3
    assert _count(database) == 0


@pytest.mark.parametrize(("bearable", "tried"), [(15, [40, 20, 10, 10]), (5, [40, 20, 10])])
def test_a_batch_that_takes_too_long_is_halved_down_to_ten(
    database: Database, monkeypatch: pytest.MonkeyPatch, bearable: int, tried: list[int]
) -> None:
    _old_tasks(database, 12)
    asked: list[int] = []
    real = store.prune_tasks

    def slow(conn: Connection, *, limit: int, **days: float) -> int:
        asked.append(limit)
        gone = real(conn, limit=limit, **days)
        if limit > bearable:
            raise DatabaseUnavailable("canceling statement due to user request")
        return gone

    monkeypatch.setattr(store, "prune_tasks", slow)
    if bearable < 10:
        with pytest.raises(DatabaseUnavailable):
            prune(database, **KEPT, budget=60, batch=40)
        assert _count(database) == 12
    else:
        assert prune(database, **KEPT, budget=60, batch=40) == 12
        assert _count(database) == 0
    assert asked == tried


def test_what_the_audit_tells_goes_once_it_is_old(database: Database) -> None:
    with database.begin() as conn:
        for target, days_ago in (("oldest", 400), ("old", 366), ("young", 364)):
            store.record(conn, "me", "POST /api/v1/keys", target)
            conn.execute(update(audit).where(audit.c.target == target).values(at=db_now(-days_ago * DAY)))
        assert store.prune_audit(conn, 365, limit=1) == 1
        assert conn.execute(select(audit.c.target).order_by(audit.c.id)).scalars().all() == ["old", "young"]
    assert prune(database, **KEPT) == 1
    with database.read() as conn:
        assert [one.target for one in views.audit_page(conn)] == ["young"]
