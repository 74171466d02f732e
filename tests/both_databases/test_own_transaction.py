"""Submitting inside a transaction of the caller's own engine: the task is there if, and only if, it commits."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

import jobrunner
from jobrunner.db.engine import open_database
from jobrunner.errors import InvalidInput
from jobrunner.queue import store, views

SCHEMA = '{"type": "object", "properties": {"item": {"type": "string"}}, "additionalProperties": false}'
ELSEWHERE = {
    "name": "ship",
    "schema": SCHEMA,
    "queue": "parcels",
    "priority": 2,
    "max_attempts": 4,
    "timeout": None,
    "description": "",
}


def test_a_callers_own_engine_submits_a_type_that_only_workers_know(postgres_url: str) -> None:
    database = open_database(postgres_url)
    with database.begin() as conn:
        store.publish(conn, [ELSEWHERE])
    own = create_engine(database.url)
    with own.begin() as conn:
        conn.execute(text("CREATE TABLE orders (item text)"))
    with own.begin() as conn:
        conn.execute(text("INSERT INTO orders VALUES ('tea')"))
        assert jobrunner.enqueue(conn, "ship", {"item": "tea"}, task_id="kept").created
    with pytest.raises(InvalidInput, match="item"), own.begin() as conn:
        conn.execute(text("INSERT INTO orders VALUES ('gin')"))
        jobrunner.enqueue(conn, "ship", {"item": "gin"}, task_id="undone")
        jobrunner.enqueue(conn, "ship", {"item": 1})
    with own.begin() as conn:
        assert conn.execute(text("SELECT item FROM orders")).scalars().all() == ["tea"]
        [task] = views.tasks_page(conn).tasks
        assert (task.task_id, task.queue, task.priority, task.max_attempts) == ("kept", "parcels", 2, 4)
    own.dispose()
    database.dispose()
