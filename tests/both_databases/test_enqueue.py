"""-> pending: once per request, whatever the caller repeats."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, update
from sqlalchemy.orm import Session

import jobrunner
from jobrunner.db.engine import Database
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.errors import HandlerError, InvalidInput, TaskExists, TaskNotFound
from jobrunner.queue import store, views
from jobrunner.queue.request import new_task
from jobrunner.queue.task import Status
from tests.both_databases.moves import DONE, add, end, row, take

enqueue_file: Any = import_module("jobrunner.queue.store.enqueue")  # the package has a function of that name


def test_a_new_task_waits_as_it_was_sent(database: Database) -> None:
    made = add(database, task_id="t-1", payload={"b": [1, 2.5], "a": "汉字 ✓"}, priority=2, queue="q", tags=["x"])
    found = row(database, "t-1")
    assert made.created
    assert (found.status, found.priority, found.queue, found.attempt) == ("pending", 2, "q", 0)
    assert json.loads(found.payload) == {"b": [1, 2.5], "a": "汉字 ✓"}
    assert json.loads(found.tags) == ["x"]
    assert abs((found.run_at - datetime.now(UTC)).total_seconds()) < 60


def test_ids_made_here_sort_by_time(database: Database) -> None:
    made = [add(database).task_id for _ in range(5)]
    assert made == sorted(made)


def test_the_same_request_answers_with_the_first_task_even_after_its_end(database: Database) -> None:
    add(database, task_id="same", payload={"x": 1})
    first = row(database, "same")
    again = add(database, task_id="same", payload={"x": 1})
    assert (again.created, again.task_id) == (False, "same")
    assert row(database, "same") == first
    end(database, take(database)[0])
    late = add(database, task_id="same", payload={"x": 1})
    assert (late.created, late.status) == (False, Status.COMPLETED)


@pytest.mark.parametrize("other", [{"payload": {"x": 2}}, {"queue": "other"}, {"delay": 5.0}, {"task_type": "another"}])
def test_a_different_request_under_the_same_id_is_refused(database: Database, other: dict[str, object]) -> None:
    add(database, task_id="same", payload={"x": 1})
    with pytest.raises(TaskExists) as refused:
        add(database, **{"task_id": "same", "payload": {"x": 1}, **other})  # type: ignore[arg-type]  # options of several types
    assert refused.value.task_id == "same"


def test_ids_are_compared_bytewise(database: Database) -> None:
    assert add(database, task_id="Ärger").created
    assert add(database, task_id="ärger").created
    assert add(database, task_id="A\u0308rger").created


@pytest.mark.parametrize("field", ["task_id", "queue"])
@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "a\nb", "x" * 201, "a\ud800"])
def test_names_that_fit_no_url_are_refused(field: str, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        new_task("work", None, **{field: name})  # type: ignore[arg-type]  # which field it is, the test says
    assert [problem.pointer for problem in refused.value.problems] == [f"/{field}"]


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        new_task("", {"x": float("nan")}, priority=0, timeout=0, max_attempts=True, queue="", delay=-1)
    told = {problem.pointer for problem in refused.value.problems}
    assert told == {"/task_type", "/task_data/x", "/priority", "/timeout", "/max_attempts", "/queue", "/delay"}


def test_at_most_one_open_task_per_unique_key(database: Database) -> None:
    first = add(database, unique_key="k", payload={"x": 1})
    second = add(database, unique_key="k", payload={"x": 2})
    assert (second.created, second.task_id) == (False, first.task_id)
    end(database, take(database)[0])
    assert add(database, unique_key="k").created


def test_many_in_one_call_are_answered_in_order(database: Database) -> None:
    add(database, task_id="t-3")
    wanted = [new_task("work", task_id=f"t-{n}") for n in range(500)]
    with database.begin() as conn:
        answers = store.enqueue_many(conn, [*wanted, wanted[0]])
    assert [answer.task_id for answer in answers] == [f"t-{n}" for n in range(500)] + ["t-0"]
    assert [answer.task_id for answer in answers if not answer.created] == ["t-3", "t-0"]
    with database.read() as conn:
        assert views.counts(conn)[Status.PENDING] == 500


def test_one_refused_task_leaves_none_of_the_call(database: Database) -> None:
    add(database, task_id="taken", payload={"x": 1})
    with pytest.raises(TaskExists), database.begin() as conn:
        store.enqueue_many(conn, [new_task("work", task_id="fresh"), new_task("work", {"x": 2}, task_id="taken")])
    with database.read() as conn:
        assert views.counts(conn)[Status.PENDING] == 1


def test_the_caller_owns_the_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError), database.begin() as conn:
        store.enqueue(conn, new_task("work", task_id="undone"))
        raise RuntimeError
    assert take(database) == []


def test_a_connection_that_commits_by_itself_is_refused(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.connect() as conn:
        made = jobrunner.enqueue(conn, "nap", allow_unknown=True)
        conn.rollback()
        with pytest.raises(TaskNotFound):
            views.task(conn, made.task_id)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        with pytest.raises(HandlerError, match="AUTOCOMMIT"):
            jobrunner.enqueue(conn, "nap", task_id="stays", allow_unknown=True)
        with pytest.raises(TaskNotFound):
            views.task(conn, "stays")
    engine.dispose()


def test_what_is_no_connection_of_ours_is_refused(database: Database, postgres_url: str) -> None:
    with database.begin() as conn:
        assert jobrunner.enqueue(conn, "nap", allow_unknown=True).created
    engine, file = create_engine(postgres_url), create_engine("sqlite://")
    with Session(engine) as session, file.begin() as memory:
        foreign: list[tuple[Any, str]] = [
            (session, "not sqlalchemy.orm.session.Session"),
            (engine, "not sqlalchemy.engine.base.Engine"),
            (session.connection().connection.driver_connection, "not psycopg.Connection"),
            (None, "not builtins.NoneType"),
            (memory, r"not one of sqlite\+pysqlite"),
        ]
        for conn, told in foreign:
            with pytest.raises(
                TypeError, match=f"conn has to be a SQLAlchemy Connection of psycopg 3 on PostgreSQL.*{told}"
            ):
                jobrunner.enqueue(conn, "nap", allow_unknown=True)
        assert jobrunner.enqueue(session.connection(), "nap", allow_unknown=True).created
    engine.dispose()
    file.dispose()


def test_later_is_later(database: Database) -> None:
    add(database, task_id="delayed", delay=3600.0)
    add(database, task_id="dated", run_at=datetime.now(UTC) + timedelta(hours=1))
    add(database, task_id="due", run_at=datetime.now(UTC) - timedelta(hours=1))
    assert [task.task_id for task in take(database)] == ["due"]
    with database.read() as conn:
        assert views.task(conn, "delayed").reason == "scheduled"


def test_the_end_of_a_task_is_told_with_its_result(database: Database) -> None:
    add(database, task_id="t")
    assert end(database, take(database)[0], DONE) is Status.COMPLETED
    with database.read() as conn:
        told = views.task(conn, "t")
    assert (told.result, told.progress, told.status) == ({"ok": True}, 1.0, Status.COMPLETED)
    assert told.execution_time >= 0.0


@pytest.mark.parametrize("field", ["run_at", "expires_at"])
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_a_time_beyond_the_calendar_is_refused(field: str, moment: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        new_task("work", **{field: datetime.fromisoformat(moment)})  # type: ignore[arg-type]  # which field it is, the test says
    assert [problem.pointer for problem in refused.value.problems] == [f"/{field}"]


def test_what_was_made_is_told_as_made_though_a_second_look_was_needed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unique_key's task ends between the look that found it in the way and the one that asks how it stands."""
    add(database, "work", task_id="first", unique_key="k")
    look = enqueue_file._standing
    looks: list[int] = []

    def ended_meanwhile(conn: Connection, unmade: Any) -> Any:
        looks.append(len(unmade))
        conn.execute(update(tasks).values(status="cancelled", finished_at=db_now()).where(tasks.c.task_id == "first"))
        return look(conn, unmade)

    monkeypatch.setattr(enqueue_file, "_standing", ended_meanwhile)
    with database.begin() as conn:
        told = store.enqueue_many(conn, [new_task("work", task_id="a"), new_task("work", task_id="b", unique_key="k")])
    assert [(one.task_id, one.created) for one in told] == [("a", True), ("b", True)]
    assert looks == [1, 0]
