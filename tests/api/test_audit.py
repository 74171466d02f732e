"""Each call that changes something stands in the audit, and one that submits on its task: taken from the routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api import keyring
from jobrunner.api.routes import TABLE
from jobrunner.db.engine import Database, open_database
from jobrunner.queue import store
from jobrunner.queue.key import Scope
from tests.api.asking import execute
from tests.api.conftest import Api
from tests.api.test_nodes import register

ROOT = "/api/v1"
CHANGES = [
    f"{method} {row.path}"
    for row in TABLE
    for method in row.methods
    if method != "GET" and row.scope in (Scope.OPERATE, Scope.ADMIN)
]
NIGHTLY = {"name": "nightly", "every": 60, "task_type": "work"}
BODIES: dict[str, dict[str, Any]] = {
    f"POST {ROOT}/keys": {"name": "another", "scopes": ["read"]},
    f"POST {ROOT}/operations": {"action": "cancel", "ids": ["t"]},
    f"PATCH {ROOT}/queues/{{name}}": {"max_running": 1},
    f"POST {ROOT}/schedules": NIGHTLY,
}
"""What the calls take that cannot do without."""


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """The audit is kept alike on both kinds: one will do."""
    opened = open_database(sqlite_url)
    yield opened
    opened.dispose()


@pytest.fixture
def admin(api: Api, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    return api.admin()


def _ids(admin: TestClient, database: Database, call: str) -> dict[str, str]:
    """What the paths' parameters stand for: one of each kind, in a state in which the call does something."""
    execute(admin, task_id="t", queue="nightly")
    if call.endswith("/retry"):
        admin.post(f"{ROOT}/tasks/t/cancel", json={})
    admin.post(f"{ROOT}/schedules", json=NIGHTLY)
    made = admin.post(f"{ROOT}/keys", json={"name": "one", "scopes": ["read"]}).json()["id"]
    begun = admin.post(f"{ROOT}/operations", json={"action": "delete", "ids": ["none"]}).json()["id"]
    node = register(database, "a", "work")
    if call.startswith("DELETE"):
        with database.begin() as conn:
            store.stopped(conn, node, "the test says so")
    return {"task_id": "t", "name": "nightly", "key_id": made, "operation_id": begun, "node_id": node}


@pytest.mark.parametrize("call", CHANGES)
def test_a_change_is_audited(admin: TestClient, database: Database, call: str) -> None:
    ids = _ids(admin, database, call)
    method, path = call.split()
    before = len(_audit(admin))
    answer = admin.request(method, path.format(**ids), json=BODIES.get(call, {}))
    assert answer.status_code < 300, answer.text
    told = _audit(admin)
    assert len(told) == before + 1
    assert (told[0]["action"], told[0]["actor"]) == (call, "the configured key")
    assert told[0]["details"]["request_id"] == answer.headers["x-request-id"]
    if "{" in path:
        assert told[0]["target"] in ids.values()


def test_of_a_schedules_arguments_the_audit_tells_the_names(admin: TestClient) -> None:
    admin.post(f"{ROOT}/schedules", json={**NIGHTLY, "task_data": {"token": "of-mine"}, "timeout": 7})
    admin.patch(
        f"{ROOT}/schedules/nightly", json={"task_data": {"token": "of-mine-2"}, "arguments": {"a": "b-of-mine"}}
    )
    patched, posted = _audit(admin)
    assert (posted["details"]["entry"]["timeout"], posted["details"]["arguments"]) == (7.0, ["token"])
    assert (patched["details"]["entry"], patched["details"]["arguments"]) == ({}, ["a", "token"])
    assert "of-mine" not in str([patched, posted])


def _audit(admin: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin.get(f"{ROOT}/audit", params={"limit": 200}).json()["changes"]
    return found


def test_a_submission_stands_on_its_task(admin: TestClient) -> None:
    execute(admin, task_id="one")
    admin.post(f"{ROOT}/tasks/batch", json={"tasks": [{"task_type": "work", "task_id": "two"}]})
    admin.post(f"{ROOT}/tasks/one/rerun", json={"task_id": "three"})
    told = admin.get(f"{ROOT}/tasks").json()["tasks"]
    assert {one["task_id"]: one["submitted_by"] for one in told} == dict.fromkeys(
        ("one", "two", "three"), "the configured key"
    )
