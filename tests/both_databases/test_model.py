"""The store held against the model: any order of moves, by several nodes, with crashes and commits nobody heard of.

A short run is part of every test run; ``ci`` has 200 sequences on SQLite and 25 on PostgreSQL, ``long`` 2,000 on both.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import event

from jobrunner.db.engine import Database
from tests.both_databases.machine import Queue

STEPS = 50


def _run(database: Database, examples: int) -> None:
    class Here(Queue):
        pass

    Here.database = database
    if database.is_sqlite:  # what a disk holds is another matter, and waiting for it took half of the time
        event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    checks = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=checks,
            print_blob=True,
            database=None,
        ),
    )


def test_some_sequences(database: Database) -> None:
    _run(database, 10)


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_more_sequences(database: Database) -> None:
    _run(database, 200 if database.is_sqlite else 25)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_2000_sequences(database: Database) -> None:
    _run(database, 2_000)
