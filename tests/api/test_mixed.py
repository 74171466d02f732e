"""Calls of every kind in any order, on few connections: none leaves a connection behind that breaks for the next."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.db.engine import Database
from jobrunner.queue.views.cursors import cursor
from tests.api.asking import execute
from tests.both_databases.moves import end, take

STEPS = 120
ROOT = "/api/v1"


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.ci) for seed in (1, 2))])
def test_no_order_of_calls_breaks_a_connection(client: TestClient, database: Database, seed: int) -> None:
    chance = random.Random(seed)
    kinds: dict[str, Callable[[int], Any]] = {
        "plain": lambda n: execute(client),
        "keyed": lambda n: execute(client, task_id=f"k{n}"),
        "repeat": lambda n: execute(client, task_id="same"),
        "clash": lambda n: execute(client, task_id="same", task_data={"n": n}),
        "unique": lambda n: execute(client, unique_key="u"),
        "refused": lambda n: execute(client, task_id=f"r{n}", task_type="nobody"),
        "batch": lambda n: client.post(f"{ROOT}/tasks/batch", json={"tasks": [{"task_type": "work"}] * 3}),
        "look": lambda n: client.get(f"{ROOT}/tasks/same", params={"wait": "0.01"}),
        "list": lambda n: client.get(f"{ROOT}/tasks", params={"limit": "2", "cursor": cursor("tasks", n + 1)}),
        "missing": lambda n: client.get(f"{ROOT}/tasks/nobody"),
        "cancel": lambda n: client.post(f"{ROOT}/tasks/same/cancel", json={}),
        "retry": lambda n: client.post(f"{ROOT}/tasks/same/retry", json={}),
        "why": lambda n: client.get(f"{ROOT}/tasks/same/why"),
        "work": lambda n: [end(database, task) for task in take(database, 2)],
    }
    for step in range(STEPS):
        kind = chance.choice(sorted(kinds))
        answer = kinds[kind](step)
        assert isinstance(answer, list) or answer.status_code < 500, f"step {step}, {kind}: {answer.text}"
