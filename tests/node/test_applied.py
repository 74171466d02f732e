"""Effects that the worker runs for its handlers: what they return is told, or nothing stands."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sqlalchemy import text

from jobrunner.db.engine import Database
from jobrunner.errors import HandlerError
from jobrunner.execution import applied
from jobrunner.handlers import registry
from jobrunner.node.reports import Gathered
from tests.both_databases.moves import add, take


def _apply(database: Database, monkeypatch: pytest.MonkeyPatch, value: Any) -> Any:
    def write(conn: Any, rows: list[Any]) -> Any:
        conn.execute(text("INSERT INTO ledger (task_id, attempt) VALUES ('t', 1)"))
        return value

    monkeypatch.setattr(registry, "get_effect", {"write": write}.__getitem__)
    add(database, task_id="t")
    [task] = take(database)
    return Gathered(database).apply(task.lease, "write", [])


def _written(database: Database) -> int:
    with database.read() as conn:
        return int(conn.execute(text("SELECT count(*) FROM ledger")).scalar_one())


@pytest.mark.parametrize("value", [None, 3, [{"a": None}], "x" * 2_000_000], ids=["none", "number", "list", "large"])
def test_a_value_that_is_json_stands_with_what_was_written(
    database: Database, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    assert _apply(database, monkeypatch, value) == value
    assert _written(database) == 1


@pytest.mark.parametrize(
    "value",
    [object(), math.nan, {1: 2}, "\ud800", "x" * (applied.VALUE_MAX_BYTES + 1)],
    ids=["object", "nan", "key", "surrogate", "large"],
)
def test_a_value_that_no_handler_could_be_told_undoes_what_was_written(
    database: Database, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    with pytest.raises(HandlerError, match="cannot be told to its handler"):
        _apply(database, monkeypatch, value)
    assert _written(database) == 0
