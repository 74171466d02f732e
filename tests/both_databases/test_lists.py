"""Lists of tasks by every filter, page by page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text, update

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import tasks
from jobrunner.queue import views
from jobrunner.queue.task import Status
from jobrunner.queue.views import TaskFilter, lists
from tests.both_databases.moves import BROKEN, add, end, take
from tests.both_databases.plans import Plan, planner, sent

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def ids(database: Database, *, limit: int = 50, walk: int = lists.WALK, **wish: Any) -> list[str]:
    """The task_ids of all pages, one after the other."""
    return [name for page in pages(database, limit=limit, walk=walk, **wish) for name in page]


def pages(database: Database, *, limit: int = 50, walk: int = lists.WALK, **wish: Any) -> list[list[str]]:
    found, before = [], None
    with database.read() as conn:
        while True:
            page = views.tasks_page(conn, TaskFilter(**wish), before=before, limit=limit, walk=walk)
            found.append([task.task_id for task in page.tasks])
            before = page.following
            if before is None:
                return found


def test_every_filter_finds_its_own(database: Database) -> None:
    add(database, task_id="a-1", tags=["x", "y"])
    add(database, task_id="a-2", queue="q", tags=["xy"])
    add(database, "more", task_id="b-1", tags=["y"])
    end(database, take(database, queues=["q"], node="n1")[0])
    end(database, take(database, node="n2")[0], BROKEN)
    assert ids(database) == ["b-1", "a-2", "a-1"]
    assert ids(database, tag="x") == ["a-1"]
    assert ids(database, tag="y") == ["b-1", "a-1"]
    assert ids(database, tag="'") == []
    assert ids(database, node="n1") == ["a-2"]
    assert ids(database, queue="q") == ["a-2"]
    assert ids(database, queues=["q", "nowhere"]) == ["a-2"]
    assert ids(database, queues=[]) == []
    assert ids(database, task_type="more") == ["b-1"]
    assert ids(database, statuses=(Status.COMPLETED,)) == ["a-2"]
    assert ids(database, statuses=(Status.PENDING, Status.PENDING)) == ["b-1", "a-1"]
    assert ids(database, prefix="a-") == ["a-2", "a-1"]
    assert ids(database, prefix="a-", tag="x", statuses=(Status.PENDING,)) == ["a-1"]


@pytest.mark.parametrize("prefix", ["100%", "a_", "\ud7ff", "\U0010ffff", "é"])
def test_the_start_of_a_task_id_is_taken_as_it_is_spelled(database: Database, prefix: str) -> None:
    for task_id in (prefix, f"{prefix}\U0010ffff", f"{prefix}z", "1000", "ab", "zz", "\ue000", "f"):
        add(database, task_id=task_id)
    assert ids(database, prefix=prefix) == [f"{prefix}z", f"{prefix}\U0010ffff", prefix]


def _created(database: Database, count: int) -> None:
    """So many tasks, one an hour, every tenth of them in the queue ``rare``; some were pruned."""
    for number in range(count):
        add(database, task_id=f"t{number:02}", queue="rare" if number % 10 == 0 else "default")
    with database.begin() as conn:
        for number in range(count):
            moment = FIRST + timedelta(hours=number)
            conn.execute(update(tasks).where(tasks.c.task_id == f"t{number:02}").values(created_at=moment))
        conn.execute(tasks.delete().where(tasks.c.task_id.in_(["t05", "t06", "t07", "t17", "t29"])))


def test_a_span_of_time_is_found_whatever_else_is_asked(database: Database) -> None:
    _created(database, 30)
    three, nine = FIRST + timedelta(hours=3), FIRST + timedelta(hours=9)
    assert ids(database, created_after=three, created_before=nine) == ["t08", "t04", "t03"]
    assert ids(database, created_after=three, created_before=nine, limit=1) == ["t08", "t04", "t03"]
    assert ids(database, created_after=three + timedelta(microseconds=1), created_before=nine) == ["t08", "t04"]
    assert ids(database, created_after=FIRST + timedelta(hours=27)) == ["t28", "t27"]
    assert ids(database, created_before=FIRST + timedelta(hours=1), queue="rare") == ["t00"]
    assert ids(database, created_after=FIRST + timedelta(hours=30)) == []
    assert ids(database, created_before=FIRST) == []
    assert ids(database, created_after=three, queue="rare", walk=4) == ["t20", "t10"]


def test_a_walk_has_an_end_and_goes_on_where_it_was(database: Database) -> None:
    _created(database, 30)
    found = pages(database, queue="rare", walk=4)
    assert [name for page in found for name in page] == ["t20", "t10", "t00"]
    assert len(found) > 3, "some pages are empty, and say where to go on"
    assert [name for page in pages(database, queue="rare", walk=4, limit=1) for name in page] == ["t20", "t10", "t00"]
    assert len(pages(database, walk=4)) == 1, "whatever every row fits needs no walk"
    assert len(pages(database, prefix="t0", walk=4)) == 1
    assert len(pages(database, statuses=(Status.PENDING,), queue="rare", walk=4)) == 1, "there are few to look through"
    assert len(pages(database, prefix="t0", queue="rare", walk=10)) == 1
    assert len(pages(database, prefix="t0", statuses=(Status.PENDING,), queue="default", walk=10)) == 1
    for wish in ({"prefix": "t0"}, {"statuses": (Status.PENDING,)}, {"statuses": (Status.PENDING, Status.FAILED)}):
        found = pages(database, tag="none", walk=4, **wish)
        assert [name for page in found for name in page] == []
        assert len(found) > 3
    with database.begin() as conn:
        conn.execute(tasks.delete())
    assert pages(database, queue="rare", walk=4) == [[]]


FILL = """
INSERT INTO tasks (task_id, task_type, payload, request_hash, queue, run_at, status, created_at, tags, finished_at,
                   token, lease_until, node_id)
SELECT 't-' || n, CASE WHEN n % 5000 = 0 THEN 'rare' ELSE 'work' END, '{}', '',
       CASE WHEN n % 5000 = 1 THEN 'rare' ELSE 'default' END, statement_timestamp(), s.status,
       statement_timestamp() - make_interval(secs => :count - n), CASE WHEN n % 5000 = 2 THEN '["rare"]'::jsonb END,
       CASE WHEN s.status IN ('completed', 'failed', 'cancelled') THEN statement_timestamp() END,
       CASE WHEN s.status = 'running' THEN 'token' END,
       CASE WHEN s.status = 'running' THEN statement_timestamp() END,
       CASE WHEN n % 5000 = 3 THEN 'rare' ELSE 'n1' END
FROM generate_series(1, :count) AS n, LATERAL (
    SELECT CASE n % 2000 WHEN 0 THEN 'failed' WHEN 1 THEN 'pending' WHEN 2 THEN 'running' WHEN 3 THEN 'cancelled'
                         ELSE 'completed' END AS status) AS s
"""


def test_no_filter_walks_over_all(postgres_url: str) -> None:
    """Pages touched among 100,000 tasks of which one in 5,000 fits: each finds them by an index, or stops in time."""
    database = open_database(postgres_url)
    with database.begin(deadline=60.0) as conn:
        conn.execute(text(FILL), {"count": 100_000})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM ANALYZE tasks")
        rows = conn.exec_driver_sql("SELECT relpages FROM pg_class WHERE relname = 'tasks'").scalar_one()
        latest = conn.exec_driver_sql("SELECT max(created_at) FROM tasks").scalar_one()
    span: dict[str, Any] = {
        "created_after": latest - timedelta(seconds=3_000),
        "created_before": latest - timedelta(seconds=2_000),
    }
    wishes: dict[str, tuple[TaskFilter, int]] = {
        **{status: (TaskFilter((status,)), 300) for status in Status if status is not Status.COMPLETED},
        "failed or cancelled": (TaskFilter((Status.FAILED, Status.CANCELLED)), 500),
        "start of a task_id": (TaskFilter(prefix="t-7777"), 100),
        "start of every task_id": (TaskFilter(prefix="t"), 100),
        "a span of time": (TaskFilter(**span), 300),
        "a span of time, by type": (TaskFilter(task_type="rare", **span), 300),
        "failed, by tag": (TaskFilter((Status.FAILED,), tag="rare"), 300),
        "failed, cancelled or running, by node": (
            TaskFilter((Status.FAILED, Status.CANCELLED, Status.RUNNING), node="n1"),
            500,
        ),
        "walk: start of every task_id, by tag": (TaskFilter(prefix="t", tag="none"), rows // 4),
        "walk: type": (TaskFilter(task_type="rare"), rows // 4),
        "walk: queue": (TaskFilter(queue="rare"), rows // 4),
        "walk: tag": (TaskFilter(tag="rare"), rows // 4),
        "walk: node": (TaskFilter(node="rare"), rows // 4),
        "walk: completed, by type": (TaskFilter((Status.COMPLETED,), task_type="rare"), rows // 4),
    }
    with planner(database, pinned=False) as plan:
        for name, (wish, most) in wishes.items():
            asked = sent(database, partial(views.tasks_page, wish=wish, walk=10_000))
            plan.use(asked)
            found: list[Plan] = plan.plans(asked)
            touched = sum(one.touched for one in found)
            print(f"FIGURE list, {name}: {touched} of {rows} pages, {len(found)} statements")
            assert touched < most, name
            assert not any(one.walked("tasks") for one in found), name
    database.dispose()
