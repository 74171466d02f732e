"""Nodes and types over REST, and a real worker that is told to claim nothing for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, insert, select, update
from starlette.testclient import TestClient

from jobrunner.api.answers_fleet import NodeAnswer, NodesAnswer, TypesAnswer
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import node_samples, nodes
from jobrunner.db.types import db_now
from jobrunner.node.heartbeat import Heartbeat
from jobrunner.node.held import Held
from jobrunner.node.host import Host
from jobrunner.node.state import Identity, State
from jobrunner.queue import store, views
from jobrunner.queue.store.nodes import SAMPLED
from tests.api.asking import assert_problem
from tests.processes import Process, Processes, free_port

NODES = "/api/v1/nodes"
SLOW = """
import pathlib, time
from jobrunner import task

@task("slow")
def slow(name: str) -> None:
    pathlib.Path(name + ".begun").touch()
    while not pathlib.Path(name + ".end").exists():
        time.sleep(0.02)
"""


def register(database: Database, name: str, *types: str) -> str:
    """The row of a node that lives for the next half minute."""
    identity = Identity(name, slots=2, types=types, queues=None, address=None, heartbeat_interval=10.0)
    with database.begin() as conn:
        store.register(conn, {**identity.columns(), **State().columns()})
    return identity.id


def test_one_node_is_told_as_in_the_list(client: TestClient, database: Database) -> None:
    node_id = register(database, "a", "work")
    one, every = client.get(f"{NODES}/{node_id}"), client.get(NODES)
    NodeAnswer.model_validate_json(one.text)
    NodesAnswer.model_validate_json(every.text)
    assert every.json()["nodes"] == [one.json()]
    assert (one.json()["name"], one.json()["alive"], one.json()["drain_requested_at"]) == ("a", True, None)
    assert_problem(client.get(f"{NODES}/none"), 404, "node_not_found")


def test_a_drain_is_asked_for_and_taken_back(client: TestClient, database: Database) -> None:
    node_id = register(database, "a", "work")
    first = client.post(f"{NODES}/{node_id}/drain", json={})
    NodeAnswer.model_validate_json(first.text)
    again = client.post(f"{NODES}/{node_id}/drain", json={})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["drain_requested_at"] == again.json()["drain_requested_at"] is not None
    assert client.post(f"{NODES}/{node_id}/resume", json={}).json()["drain_requested_at"] is None
    with database.begin() as conn:
        store.stopped(conn, node_id, "the test ends")
    for change in ("drain", "resume"):
        assert_problem(client.post(f"{NODES}/{node_id}/{change}", json={}), 409, "node_stopped")
        assert_problem(client.post(f"{NODES}/none/{change}", json={}), 404, "node_not_found")


def test_one_that_is_gone_is_removed_and_one_that_lives_is_not(client: TestClient, database: Database) -> None:
    ended, silent, living = (register(database, name, "work") for name in ("ended", "silent", "living"))
    with database.begin() as conn:
        store.stopped(conn, ended, "the test says so")
        conn.execute(update(nodes).where(nodes.c.id == silent).values(heartbeat_at=db_now(-60.0)))
        for node_id in (silent, living):
            conn.execute(insert(node_samples).values(node_id=node_id, at=db_now(), **dict.fromkeys(SAMPLED, 0)))
    assert_problem(client.delete(f"{NODES}/{living}"), 409, "node_alive")
    for node_id in (ended, silent):
        answer = client.delete(f"{NODES}/{node_id}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert_problem(client.delete(f"{NODES}/{node_id}"), 404, "node_not_found")
    assert [node["id"] for node in client.get(NODES).json()["nodes"]] == [living]
    with database.read() as conn:
        assert conn.execute(select(node_samples.c.node_id)).scalars().all() == [living]


def test_types_are_told_with_the_nodes_that_claim_them_now(client: TestClient, database: Database) -> None:
    ready, drained, gone = (register(database, name, "work", "sum") for name in ("ready", "drained", "gone"))
    with database.begin() as conn:
        store.publish(conn, [{"name": "work", "schema": '{"type": "object"}', "queue": "q", "description": "Works."}])
        store.publish(conn, [{"name": "nobody", "schema": "{}"}])
        store.drain_node(conn, drained)
        store.stopped(conn, gone, "the test says so")
    answer = client.get("/api/v1/types")
    TypesAnswer.model_validate_json(answer.text)
    told = {one["name"]: one for one in answer.json()["types"]}
    assert sorted(told) == ["nobody", "work"]
    assert (told["work"]["nodes"], told["nobody"]["nodes"]) == ([ready], [])
    assert (told["work"]["schema"], told["work"]["queue"]) == ({"type": "object"}, "q")


def test_a_node_that_has_to_register_again_is_still_told_to_claim_nothing(database: Database, tmp_path: Path) -> None:
    heard: list[bool] = []
    identity = Identity("n", slots=1, types=(), queues=None, address=None, heartbeat_interval=0.05)
    beating = Heartbeat(
        database,
        identity,
        State(),
        Held(),
        Host(tmp_path),
        lease_seconds=30.0,
        types=[],
        renewed=lambda _renewal: None,
        drains=heard.append,
    )
    beating.start()
    try:
        with database.begin() as conn:
            store.drain_node(conn, identity.id)
        _until(lambda: heard == [True])
        with database.begin() as conn:
            conn.execute(delete(nodes))
        _until(lambda: _asked(database, identity.id) is not None)
        with database.begin() as conn:
            store.resume_node(conn, identity.id)
        _until(lambda: heard == [True, False])
    finally:
        beating.stop("the test ends")


def _asked(database: Database, node_id: str) -> Any:
    with database.read() as conn:
        return next((node.drain_requested_at for node in views.all_nodes(conn) if node.id == node_id), None)


def _until(true: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within:g} s"
        time.sleep(0.02)


@pytest.fixture
def worker(database_url: str, processes: Processes) -> Process:
    """A worker of the type ``slow`` that beats thrice a second, and serves."""
    (processes.home / "chores.py").write_text(SLOW)
    env = {
        "JOBRUNNER_DATABASE_URL": database_url,
        "JOBRUNNER_HANDLERS": "chores",
        "JOBRUNNER_HEARTBEAT_INTERVAL": "0.3",
        "JOBRUNNER_MAX_WORKERS": "2",
    }
    port = free_port()
    started = processes.start("worker", "--port", str(port), env=env, port=port)
    started.wait_healthy()
    return started


def test_a_real_worker_that_drains_ends_what_runs_and_claims_nothing_until_it_is_resumed(
    worker: Process, processes: Processes
) -> None:
    with httpx2.Client(base_url=worker.url, timeout=10) as rest:

        def submit(name: str) -> None:
            told = {"task_id": name, "task_type": "slow", "task_data": {"name": name}}
            assert rest.post("/api/v1/task/execute", json=told).status_code == 202

        def status(name: str) -> str:
            return str(rest.get(f"/api/v1/task/{name}/status").json()["status"])

        def node() -> dict[str, Any]:
            return dict(rest.get(NODES).json()["nodes"][0])

        submit("first")
        _until((processes.home / "first.begun").exists)
        assert rest.post(f"{NODES}/{node()['id']}/drain", json={}).status_code == 202
        _until(lambda: node()["state"] == "draining")
        submit("second")
        time.sleep(0.8)
        assert (status("first"), status("second")) == ("running", "pending"), "one slot is free"
        (processes.home / "first.end").touch()
        _until(lambda: status("first") == "completed")
        time.sleep(0.7)
        assert status("second") == "pending"
        assert worker.exit_code is None
        assert rest.get("/readyz").status_code == 200
        assert rest.post(f"{NODES}/{node()['id']}/resume", json={}).status_code == 202
        _until((processes.home / "second.begun").exists)
        (processes.home / "second.end").touch()
        _until(lambda: status("second") == "completed")
        _until(lambda: node()["state"] == "active")


def test_views_of_one_node_and_of_none(database_url: str) -> None:
    opened = open_database(database_url)
    node_id = register(opened, "a", "work")
    with opened.begin() as conn:
        assert store.beat(conn, node_id, State().columns(), sample=True) == (True, False)
        store.drain_node(conn, node_id)
        assert store.beat(conn, node_id, State().columns(), sample=True) == (True, True)
        assert store.beat(conn, "none", State().columns(), sample=True) == (False, False)
    opened.dispose()
