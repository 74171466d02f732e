"""What a running attempt tells is kept while it has its task, and dropped when another one has."""

from __future__ import annotations

from jobrunner.db.engine import Database
from jobrunner.queue import store, views
from jobrunner.queue.task import LogLine, Task
from tests.both_databases.moves import add, age_lease, reclaim, row, take


def _tell(database: Database, task: Task, fraction: float, words: str) -> None:
    with database.begin() as conn:
        store.progress(conn, {task.lease: (fraction, words)})
        store.logs(conn, [(task.lease, LogLine(views.now(conn), "info", words))])


def _told(database: Database) -> list[str]:
    with database.read() as conn:
        return [line.message for line in views.task_logs_page(conn, "t")]


def test_who_lost_the_task_is_heard_no_more(database: Database) -> None:
    add(database, task_id="t")
    [first] = take(database)
    _tell(database, first, 0.2, "the first one")
    age_lease(database, "t", 1)
    reclaim(database)
    _tell(database, first, 0.3, "while it waits")
    [second] = take(database)
    _tell(database, first, 0.9, "too late")
    _tell(database, second, 0.4, "the second one")
    assert (row(database, "t").progress, row(database, "t").message) == (0.4, "the second one")
    assert _told(database) == ["the first one", "the second one"]
