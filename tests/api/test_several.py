"""Several ``jobrunner api`` behind one proxy: callers are spread over them, and notice nothing of it."""

from __future__ import annotations

import time
from itertools import islice

import httpx2
import pytest

from jobrunner.client import Client
from tests.api.asking import EXECUTE
from tests.api.conftest import KEY
from tests.processes import Processes, free_port
from tests.stripping import Stripping

HANDLERS = """
from jobrunner.handlers import task


@task("double")
async def double(x: int) -> int:
    return 2 * x
"""
ROUNDS = 4  # of two processes that are asked in turn


@pytest.mark.ci
def test_callers_are_spread_over_several(postgres_url: str, processes: Processes) -> None:
    (processes.home / "doubles.py").write_text(HANDLERS)
    env = {"JOBRUNNER_DATABASE_URL": postgres_url, "JOBRUNNER_API_KEY": KEY}
    ports = [free_port(), free_port()]
    servers = [processes.start("api", "--port", str(port), env=env, port=port) for port in ports]
    processes.start("worker", "--handlers", "doubles", env=env).wait_for_line('"event": "ready"')
    for server in servers:
        server.wait_healthy()
    with Stripping("", *ports) as proxy:
        _submissions(proxy)
        _waits_and_streams(proxy)
        _keys_and_sessions(proxy)


def _submissions(proxy: Stripping) -> None:
    headers = {"X-API-Key": KEY, "Idempotency-Key": "the same"}
    told = [
        httpx2.post(f"{proxy.url}{EXECUTE}", json={"task_type": "double", "task_data": {"x": 1}}, headers=headers)
        for _ in range(ROUNDS)
    ]
    assert [answer.status_code for answer in told] == [202, *[200] * (ROUNDS - 1)]
    assert {answer.headers.get("Idempotent-Replayed") for answer in told[1:]} == {"true"}


def _waits_and_streams(proxy: Stripping) -> None:
    with Client(proxy.url, api_key=KEY) as client:
        streams = [client.events(), client.events()]  # one at each, since these are asked in turn
        assert [next(stream).kind for stream in streams] == ["snapshot", "snapshot"]
        for number in range(ROUNDS):
            assert client.submit("double", {"x": number}).result(timeout=60) == {"value": 2 * number}
        submitted = client.submit("double", {"x": 8}, task_id="seen").task_id
        for stream in streams:
            assert any(submitted in found.tasks for found in islice(stream, 200))


def _keys_and_sessions(proxy: Stripping) -> None:
    made = httpx2.post(
        f"{proxy.url}/api/v1/keys", json={"name": "reader", "scopes": ["read"]}, headers={"X-API-Key": KEY}
    ).json()
    deadline = time.monotonic() + 30
    opened = 0
    while opened < ROUNDS:  # a key opens every server within seconds
        assert time.monotonic() < deadline
        answer = httpx2.get(f"{proxy.url}/api/v1/tasks", headers={"X-API-Key": made["key"]})
        opened = opened + 1 if answer.status_code == 200 else 0
        time.sleep(0.1)
    with httpx2.Client(headers={"Accept": "text/html"}) as browser:
        assert browser.post(f"{proxy.url}/login", data={"key": made["key"]}).status_code == 303
        assert [browser.get(f"{proxy.url}/").status_code for _ in range(ROUNDS)] == [200] * ROUNDS
