"""Queues, nodes and types by command: equal at the database and over REST, with a worker that obeys."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.processes import Processes, free_port


@pytest.mark.ci
def test_queues_are_paused_and_limited(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    assert at("submit", "add", "--queue", "imports").code == 0
    told = at("queues", "pause", "imports", "--reason", "the source is down")
    assert told.out == "queue imports is paused; 1 tasks wait in it, 0 still run\n"
    held = {one["name"]: one for one in at("queues", "list", "--json").json["queues"]}["imports"]
    assert (held["paused"], held["pause_reason"], held["pending"]) == (True, "the source is down", 1)
    assert "at the database" in held["paused_by"]
    assert at("queues", "list", "--quiet").out == "default\nimports\n"
    assert [row["paused"] for row in at("queues", "list").rows] == ["no", "yes"]
    assert at("queues", "resume", "imports", "--json").json["paused"] is False
    told = at("queues", "limit", "imports", "--max-running", "2", "--max-pending", "7")
    assert told.out == "queue imports: max_running 2, max_pending 7\n"
    assert at("queues", "limit", "imports", "--max-pending", "none", "--json").json["max_pending"] is None
    assert at("queues", "limit", "imports").code == Exit.USAGE
    for odd in ("few", ""):
        assert at("queues", "limit", "imports", "--max-running", odd).code == Exit.USAGE
    assert at("queues", "resume", "nowhere").code == Exit.NOT_FOUND
    assert [one["target"] for one in at("audit", "--json").json["changes"]] == ["imports"] * 4


@pytest.mark.long
def test_a_node_is_drained_and_works_again(
    jr: Jr, postgres_url: str, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", postgres_url)
    worker = processes.start(
        *("worker", "--port", str(port), "--handlers", chores, "--node-name", "Worker-1"),
        env={"JOBRUNNER_DATABASE_URL": postgres_url, "JOBRUNNER_HEARTBEAT_INTERVAL": "1"},
        port=port,
    )
    worker.wait_healthy()
    there = ("--url", worker.url)
    (node_id,) = jr("nodes", "--quiet").out.split()
    assert jr("nodes", "list", "--quiet", *there).out.split() == [node_id]
    told = jr("nodes", "show", "Worker-1", "--json", *there)
    assert (told.code, told.err) == (0, "")
    assert told.json["id"] == node_id
    assert jr("types", "--json", *there).json == jr("types", "--json").json
    assert {row["name"]: row["nodes"] for row in jr("types").rows}["add"] == node_id
    assert "begins nothing more" in jr("nodes", "drain", "Worker-1").out
    _until(lambda: jr("nodes", "show", node_id, "--json").json["state"] == "draining")
    assert jr("submit", "add", "x:=1", "--wait-timeout", "1").code == Exit.TIMED_OUT
    told = jr("doctor", "--json", *there)
    assert told.code == Exit.TASK_FAILED
    assert {"nodes": "fail"}.items() <= {one["check"]: one["level"] for one in told.json["findings"]}.items()
    assert jr("nodes", "resume", node_id, "--json", *there).json["drain_requested_at"] is None
    _until(lambda: jr("list", "--status", "completed", "--quiet").out.count("\n") == 1)
    assert jr("nodes", "show", "nobody").code == Exit.NOT_FOUND
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    told = jr("nodes", "drain", node_id)
    assert (told.code, told.out) == (Exit.CONFLICT, "")
    assert "has ended" in told.err


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)
