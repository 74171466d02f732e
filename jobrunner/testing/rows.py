"""What stands in a database after a run, in a form in which two runs can be compared."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Inspector, Row, column, inspect, literal_column, select, table
from sqlalchemy.exc import SAWarning

from jobrunner.db import market
from jobrunner.db.tables import tasks

State = dict[str, list[str]]
"""By name of a table: its rows as JSON text, in an order that means nothing."""

_OURS = {*market.METADATA.tables, "alembic_version"}
_MADE_BY_SERVER = re.compile(r"nextval\(|now\(\)|current_timestamp|_timestamp\(\)|uuid", re.IGNORECASE)
_OF_A_TASK = ("task_type", "payload", "queue", "priority", "status", "result", "unique_key", "tags")


def users_rows(conn: Connection, ignore: Collection[str]) -> State:
    """All rows of all tables that are not jobrunner's.

    Left out are the columns in ``ignore``, those whose values a server makes up (a sequence leaves gaps when a
    transaction is undone, and a clock never says the same twice), and references to such.
    """
    found: State = {}
    looker = inspect(conn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # a type that SQLAlchemy does not know is read as the driver does
        names = [name for name in looker.get_table_names() if name not in _OURS]
        made_up = {name: _made_up(looker, name) for name in names}
        for name in names:
            references = {
                local
                for key in looker.get_foreign_keys(name)
                for local, remote in zip(key["constrained_columns"], key["referred_columns"], strict=True)
                if remote in made_up.get(key["referred_table"], ())
            }
            left_out = {*ignore, *made_up[name], *references}
            kept = [each["name"] for each in looker.get_columns(name) if each["name"] not in left_out]
            columns: list[Any] = [column(each) for each in kept]
            columns = columns or [literal_column("1").label("row")]  # it counts all the same
            found[name] = _texts(conn.execute(select(*columns).select_from(table(name))), ignore)
    return found


def told_rows(given: Mapping[str, Any], ignore: Collection[str]) -> State:
    """What the test's own ``state`` returned, in the same form; a single value counts as one row."""
    return {name: _texts(rows if _is_many(rows) else [rows], ignore) for name, rows in given.items()}


def other_tasks(conn: Connection, task_id: str, ignore: Collection[str]) -> list[str]:
    """The tasks that the rehearsed one added, without their ids, which are made up."""
    found = conn.execute(select(*(tasks.c[name] for name in _OF_A_TASK)).where(tasks.c.task_id != task_id))
    return _texts(found, ignore)


def without(value: Any, ignore: Collection[str]) -> Any:
    """A JSON value without these keys, however deep they stand."""
    if isinstance(value, dict):
        return {key: without(each, ignore) for key, each in value.items() if key not in ignore}
    return [without(each, ignore) for each in value] if isinstance(value, list | tuple) else value


def _made_up(looker: Inspector, name: str) -> set[str]:
    return {
        each["name"]
        for each in looker.get_columns(name)
        if each.get("identity") or _MADE_BY_SERVER.search(str(each.get("default") or ""))
    }


def _is_many(rows: Any) -> bool:
    return isinstance(rows, Iterable) and not isinstance(rows, str | bytes | Mapping | Row)


def _texts(rows: Iterable[Any], ignore: Collection[str]) -> list[str]:
    plain = [dict(row._mapping) if isinstance(row, Row) else row for row in rows]
    return [json.dumps(without(row, ignore), sort_keys=True, default=str, ensure_ascii=False) for row in plain]
