"""What is compared of a database, and in which words two of them differ."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import text

from jobrunner.db.engine import open_database
from jobrunner.queue.task import Status
from jobrunner.testing.calls import Call, heeded
from jobrunner.testing.compare import Left, differences
from jobrunner.testing.rows import State, told_rows, users_rows


def _left(state: State | None = None, calls: tuple[Call, ...] = (), **facts: Any) -> Left:
    known: dict[str, Any] = {"status": Status.COMPLETED, "result": {"n": 1}, "error": None}
    return Left(**{**known, **facts}, state=state or {}, calls=calls)


def test_what_a_server_makes_up_is_not_compared(postgres_url: str) -> None:
    database = open_database(postgres_url)
    with database.begin(free=True) as conn:
        for statement in (
            "CREATE TABLE orders (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item TEXT,"
            " at TIMESTAMPTZ DEFAULT now(), mark UUID DEFAULT gen_random_uuid())",
            "CREATE TABLE parts (number SERIAL, of BIGINT REFERENCES orders, what JSONB)",
            "CREATE TABLE kinds (id INTEGER PRIMARY KEY, name TEXT, changed TEXT)",
            "INSERT INTO orders (item) VALUES ('tea')",
            "INSERT INTO parts (of, what) SELECT id, '{\"a\": 1}' FROM orders",
            "INSERT INTO kinds VALUES (7, 'hot', 'today')",
        ):
            conn.execute(text(statement))
        found = users_rows(conn, {"changed"})
    database.close()
    rows = {name: [json.loads(row) for row in rows] for name, rows in found.items()}
    assert rows == {"orders": [{"item": "tea"}], "parts": [{"what": '{"a": 1}'}], "kinds": [{"id": 7, "name": "hot"}]}


def test_a_file_makes_up_only_times(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    with database.begin() as conn:
        conn.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP)"))
        conn.execute(text("INSERT INTO orders (id) VALUES (3)"))
        assert users_rows(conn, ()) == {"orders": ['{"id": 3}']}
        assert users_rows(conn, {"id", "at"}) == {"orders": ['{"row": 1}']}
    database.close()


def test_the_tests_own_state_may_be_rows_or_values() -> None:
    given = {"names": [{"name": "tea", "at": 5}], "count": 3, "word": "tea", "one": {"at": 5, "n": 1}}
    assert told_rows(given, {"at"}) == {
        "names": ['{"name": "tea"}'],
        "count": ["3"],
        "word": ['"tea"'],
        "one": ['{"n": 1}'],
    }


def test_every_difference_is_told_in_words() -> None:
    first = _left({"lines": ["a", "b", "c", "c"]}, (Call("mail", ("ann",)),))
    assert differences(first, _left({"lines": ["c", "b", "c", "a"]}, first.calls)) == []
    other = _left({"lines": ["b", "b", "c", "d"], "more": ["x"]}, status=Status.FAILED, error="boom")
    assert differences(first, other) == [
        "status failed instead of completed: boom",
        "lines: row missing: a",
        "lines: row there twice instead of once: b",
        "lines: row there once instead of twice: c",
        "lines: row not expected: d",
        "more: row not expected: x",
        "call missing: mail('ann')",
    ]
    assert differences(_left(), _left(result=None)) == ["result None instead of {'n': 1}"]
    many = differences(_left(), _left({"lines": list("abcdefgh")}))
    assert (len(many), many[-1]) == (6, "lines: row: 3 more differences")


def test_calls_with_one_key_are_one() -> None:
    made = [
        Call("mail", ("ann",), "1"),
        Call("mail", ("bob",), "1"),
        Call("sms", ("ann",), "1"),
        Call("mail"),
        Call("mail"),
    ]
    assert heeded(made) == [made[0], made[2], made[3], made[4]]
