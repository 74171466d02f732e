"""Every field of every body against values that programs get wrong: an answer each time, and never a 500."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api.routes import TABLE
from tests.api.conftest import Api

pytestmark = pytest.mark.ci

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    10**18,
    2**63 - 1,
    -(2**63),
    1e308,
    -1e308,
    5e-324,
    0.1,
    "",
    " ",
    "x" * 201,
    "x" * 100_000,
    "\u0001",
    "\u202e",
    "\ufeff",
    "\U0010ffff",
    "'; DROP TABLE tasks; --",
    "%zz%s%d{0}",
    "../../etc/passwd",
    "0 0 30 2 *",
    "0 0 31 2 *",
    "* * * * * *",
    "@reboot",
    "*/0 * * * *",
    "0-99999999999 * * * *",
    "UTC\n",
    "../UTC",
    "/etc/localtime",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59Z",
    "2026-11-23T10:00:00Z",
    [],
    [None],
    [[]],
    ["a"] * 60,
    {},
    {"": 1},
    {"a": {"b": [1, {"c": None}]}},
]
BODIES = [(row, method) for row in TABLE if row.request is not None for method in row.methods]
BASES: dict[str, dict[str, Any]] = {
    "ExecuteRequest": {"task_type": "work"},
    "ScheduleRequest": {"name": "n", "task_type": "work", "cron": "0 3 * * *"},
    "KeyRequest": {"name": "n", "scopes": ["read"]},
}


@pytest.fixture
def client(api: Api) -> TestClient:
    """A client with a key: those that are made here would close an open door."""
    return api.admin()


@pytest.mark.parametrize(("row", "method"), BODIES, ids=[row.path for row, _ in BODIES])
def test_no_value_of_any_field_breaks_us(client: TestClient, row: Any, method: str) -> None:
    path = re.sub(r"\{\w+\}", "n", row.path)
    base = BASES.get(row.request.__name__, {})
    broken = []
    for name in row.request.model_fields:
        for value in VALUES:
            told = {**base, name: value}
            if name == "every":
                told.pop("cron", None)
            answer = client.request(method, path, json=told)
            if answer.status_code >= 500:
                broken.append((name, value, answer.status_code))
            if answer.status_code in (200, 201, 202):
                follow(client, row, answer, told)
    assert broken == []


def follow(client: TestClient, row: Any, answer: Any, told: dict[str, Any]) -> None:
    """What was accepted can be read again, and gives sound JSON."""
    where = answer.headers.get("location") or "/api/v1/schedules"
    read = client.get(where)
    assert read.status_code == 200, (row.path, told)
    json.loads(read.text, parse_constant=lambda name: pytest.fail(f"{name} in {where}"))


@pytest.mark.parametrize("value", ["%00", "%FF%ED%A0%80", "x" * 5_000, "%0d%0aX: y🎈"])
def test_no_path_and_no_query_breaks_us(client: TestClient, api: Api, value: str) -> None:
    for row in TABLE:
        for method in row.methods:
            if row.path.endswith("/events") or row.path == "/api/v1/node/shutdown":
                continue
            path = row.path.replace("{task_id}", value).replace("{name}", value).replace("{path:path}", value)
            body: dict[str, Any] | None = {} if method == "POST" else None
            query = f"?type={value}&queue={value}&lang={value}"
            answer = client.request(method, path + query, headers={"accept": "text/html"}, json=body)
            assert answer.status_code < 500, (method, path, query)
    assert api.asked.shut_down == 0
