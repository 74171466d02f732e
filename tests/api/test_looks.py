"""One look at the database for all who ask at the same time, and never one from before the asking."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, event

from jobrunner.api import overview
from jobrunner.api.looks import Shared
from jobrunner.db.engine import open_database
from jobrunner.errors import DatabaseUnavailable


def test_nobody_gets_what_was_seen_before_the_asking() -> None:
    state = ["old"]
    entered, go_on = threading.Event(), threading.Event()

    def look() -> str:
        seen = state[0]
        entered.set()
        go_on.wait(5)
        return seen

    shared = Shared(look)
    with ThreadPoolExecutor(2) as threads:
        early = threads.submit(shared.get)
        assert entered.wait(5)
        state[0] = "new"
        late = threads.submit(shared.get)  # asks while a look from before the change is under way
        time.sleep(0.05)
        go_on.set()
        assert (early.result(5), late.result(5)) == ("old", "new")


def test_many_at_once_share() -> None:
    looks = []
    at_once = threading.Barrier(20)

    def look() -> int:
        time.sleep(0.3)
        looks.append(1)
        return len(looks)

    shared = Shared(look)
    with ThreadPoolExecutor(20) as threads:
        told = list(threads.map(lambda _: (at_once.wait(), shared.get())[1], range(20)))
    assert max(told) == len(looks) <= 3


def test_a_failure_is_shared_and_forgotten() -> None:
    looks = []

    def look() -> str:
        looks.append(1)
        if len(looks) == 1:
            raise DatabaseUnavailable("away")
        return "back"

    shared = Shared(look, 0.2)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            shared.get()
    assert len(looks) == 1
    time.sleep(0.25)
    assert shared.get() == "back"


def test_the_page_reads_no_table_of_tasks_from_end_to_end(sqlite_url: str) -> None:
    opened = open_database(sqlite_url)
    asked: list[tuple[str, object]] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def _keep(_conn: object, _cursor: object, statement: str, given: object, *_rest: object) -> None:
        asked.append((statement, given))

    try:
        with opened.read() as conn:
            overview.gather(conn)
            event.remove(Engine, "before_cursor_execute", _keep)
            plans = []
            for statement, given in asked:
                rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given).all()  # type: ignore[arg-type]
                plans += [str(row[-1]) for row in rows]
    finally:
        opened.dispose()
    assert any("ix_tasks_ended" in plan for plan in plans)
    assert [plan for plan in plans if plan.startswith("SCAN tasks") and "INDEX" not in plan] == []
