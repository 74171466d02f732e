"""Types that only other processes have: a new one is known at once, a changed one within about a second."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from sqlalchemy import Connection, event

from jobrunner.db.engine import Database
from jobrunner.errors import InvalidInput, UnknownTaskType
from jobrunner.handlers.published import FRESH
from jobrunner.queue import store
from jobrunner.submission import Request, submit, submit_many
from tests.both_databases.moves import row


def publish(database: Database, kind: str, **told: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": told.pop("a", "integer")}}, "additionalProperties": False}
    defaults = {"queue": None, "priority": None, "max_attempts": None, "timeout": None, "description": ""}
    with database.begin() as conn:
        store.publish(conn, [{"name": kind, **defaults, "schema": json.dumps(schema), **told}])


def test_a_type_is_known_as_soon_as_it_is_published(database: Database) -> None:
    for _ in range(2):
        with pytest.raises(UnknownTaskType), database.begin() as conn:
            submit(conn, "ship", {"a": 1})
    publish(database, "ship")
    with database.begin() as conn:
        assert submit(conn, "ship", {"a": 1}).created
        with pytest.raises(InvalidInput, match="/task_data/a"):
            submit(conn, "ship", {"a": "one"})


def test_a_change_is_seen_within_about_a_second(database: Database) -> None:
    publish(database, "ship", priority=2)
    with database.begin() as conn:
        first = submit(conn, "ship", {"a": 1})
    publish(database, "ship", a="string", priority=7)
    changed = time.monotonic()
    while True:
        with database.begin() as conn:
            try:
                late = submit(conn, "ship", {"a": "one"})
                break
            except InvalidInput:
                assert time.monotonic() - changed < FRESH + 1
        time.sleep(0.05)
    assert (row(database, first.task_id).priority, row(database, late.task_id).priority) == (2, 7)
    with pytest.raises(InvalidInput), database.begin() as conn:
        submit(conn, "ship", {"a": 1})


def test_what_was_seen_just_now_is_not_looked_up_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobrunner.handlers.published.FRESH", 60.0)  # a busy machine may stand still for a second
    publish(database, "ship")
    publish(database, "sail")
    asked: list[str] = []

    def note(_conn: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if "task_types" in statement:
            asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    for _ in range(5):
        with database.begin() as conn:
            submit(conn, "ship", {"a": 1})
    assert len(asked) == 1
    with database.begin() as conn:
        submit_many(conn, [Request("ship", {"a": 1}), Request("sail", {"a": 1})])
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["no\0thing", "half\ud800", "", 5])
def test_a_name_that_no_type_can_have_is_refused_and_never_asked_for(database: Database, name: Any) -> None:
    with pytest.raises(InvalidInput) as refused, database.begin() as conn:
        submit(conn, name, {})
    assert refused.value.problems[0].pointer == "/task_type"
