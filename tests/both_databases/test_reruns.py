"""An operation that runs tasks again: new ones like those that have ended."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from jobrunner.db.engine import Database
from jobrunner.db.tables import tasks
from jobrunner.errors import InvalidInput
from jobrunner.queue import views
from jobrunner.queue.operation import Action
from jobrunner.queue.request import new_task
from tests.both_databases.moves import add, end, take
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


def test_what_may_be_added_no_more_is_not_run_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, 2)
    for task in take(database, 2):
        end(database, task)
    operation = begin(database, Action.RERUN)
    made = new_task

    def refused(task_type: str, payload: Any, **options: Any) -> Any:
        monkeypatch.setattr("jobrunner.queue.store.many.new_task", made)
        raise InvalidInput("the request is refused")

    monkeypatch.setattr("jobrunner.queue.store.many.new_task", refused)
    steps(database)
    assert figures(database, operation) == ("done", 2, 1, 1)
    assert statuses(database) == {"completed": 2, "pending": 1}
