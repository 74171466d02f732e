"""An operation that runs tasks again: new ones like those that have ended."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import tasks
from jobrunner.queue import store, views
from jobrunner.queue.operation import Action
from jobrunner.queue.store.many import CHANGES
from tests.both_databases.moves import BROKEN, add, end, take
from tests.both_databases.test_operations import begin, figures, fill, statuses, step, steps


@pytest.mark.parametrize("count", [3, 70])
def test_a_rerun_adds_a_task_like_each_ended_one(database: Database, count: int) -> None:
    kept: dict[str, Any] = {"payload": {"n": 1, "text": "汉字"}, "queue": "bars", "priority": 2, "timeout": 9.0}
    kept |= {"max_attempts": 1, "tags": ["a", "b"]}
    for number in range(count):
        add(database, task_id=f"t{number}", unique_key=f"k{number}", expires_at=None, **kept)
    for task in take(database, count - 1):
        end(database, task)
    operation = begin(database, Action.RERUN)
    while (found := step(database, step=50)) is not None:
        assert found.woke
    assert figures(database, operation) == ("done", count - 1, count - 1, 0)
    with database.read() as conn:
        made = [
            views.task(conn, one)
            for one in conn.execute(select(tasks.c.task_id).where(tasks.c.unique_key.is_(None))).scalars()
        ]
    assert len({one.task_id for one in made}) == count - 1
    for one in made:
        assert {name: getattr(one, name) for name in kept} == kept
        assert (one.status, one.attempt, one.submitted_by) == ("pending", 0, f"operation {operation}")
    assert statuses(database) == {"completed": count - 1, "pending": count}, "the old ones stay"


def test_nothing_is_run_again_twice_while_somebody_holds_an_old_one(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=4)
    fill(database, 10)
    for task in take(database, 10):
        end(database, task)
    operation = begin(database, Action.RERUN)
    with database.begin() as conn:
        conn.execute(select(tasks.c.id).where(tasks.c.task_id == "t003").with_for_update())
        steps(database, step=4)
    assert figures(database, operation) == ("done", 10, 10, 0)
    assert statuses(database) == {"completed": 10, "pending": 10}
    database.dispose()


def test_what_is_open_again_is_not_run_beside_itself(database: Database) -> None:
    """Somebody retries one between the look and the step."""
    fill(database, 2, max_attempts=1)
    for task in take(database, 2):
        end(database, task, BROKEN)
    operation = begin(database, Action.RERUN)
    with database.begin() as conn:
        ids = list(conn.execute(select(tasks.c.id).order_by(tasks.c.id)).scalars())
        store.retry(conn, "t000")
        changed = CHANGES[Action.RERUN](conn, [*ids, 9_999], operation)
    assert changed.seen == {*ids, 9_999}
    assert changed.done == {ids[1]}
    assert statuses(database) == {"failed": 1, "pending": 2}
