"""Who waits goes on while a server starts anew, and says so; who asks for the first time is told at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobrunner.cli import patience
from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.cli.scripted import Told, scripted

LOST = None
AWAY: Told = (503, {"code": "database_unavailable", "detail": "the database is away"})
OVERVIEW: Told = (200, {"verdict": "ok", "nodes_alive": 1, "waiting_seconds": 0.0, "counts": {}})


def _task(status: str, **more: Any) -> Told:
    ended = "2026-01-01T00:00:00.000000Z" if status == "completed" else None
    told = {"task_id": "one", "status": status, "reason": status, "message": "", "progress": None, "error": None}
    return 200, {**told, "completed_at": ended, "result": {"value": 3}, **more}


def _lines(*messages: str, after: int) -> Told:
    one = {"at": "2026-01-01T00:00:00.000000Z", "attempt": 1, "level": "info", "fields": {}}
    return 200, {"logs": [{**one, "message": message} for message in messages], "next_after": after}


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "REST", 0.02)


def test_waiting_goes_on_across_a_restart(jr: Jr) -> None:
    running = _task("running")
    with scripted(running, running, OVERVIEW, LOST, AWAY, _task("completed")) as server:
        told = jr("wait", "one", "--url", server.url)
    assert (told.code, json.loads(told.out)) == (0, {"value": 3})
    assert told.err.count("waiting on, for 60 s at most") == 1
    assert "There is an answer again." in told.err


def test_a_submission_that_is_waited_for_tells_its_id_at_once(jr: Jr) -> None:
    with scripted((202, {"task_id": "one", "status": "pending"}), AWAY, _task("completed")) as server:
        told = jr("submit", "add", "--wait", "--json", "--url", server.url)
    assert (told.code, told.json["status"]) == (0, "completed")
    assert told.err.startswith("task one\n")


def test_it_ends_where_the_outage_does_not(jr: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    running = _task("running")
    monkeypatch.setattr(patience, "WAIT_ON", 0.1)
    with scripted(running, running, OVERVIEW, AWAY) as server:
        assert jr("wait", "one", "--url", server.url).code == Exit.UNREACHABLE
    monkeypatch.setattr(patience, "WAIT_ON", 60.0)
    with scripted(running, running, OVERVIEW, AWAY) as server:
        told = jr("wait", "one", "--timeout", "0.2s", "--url", server.url)
    assert told.code == Exit.TIMED_OUT
    assert "one did not end in 0.2 s" in told.err


def test_nobody_waits_for_who_never_answered(jr: Jr) -> None:
    with scripted(AWAY) as server:
        for words in (("wait", "one"), ("logs", "one", "-f"), ("wait", "one", "--timeout", "0")):
            told = jr(*words, "--url", server.url)
            assert (told.code, told.err) == (Exit.UNREACHABLE, "jobrunner: the database is away\n")


def test_a_log_is_followed_across_a_restart(jr: Jr) -> None:
    running, done = _task("running"), _task("completed")
    script = (running, _lines("first", after=1), LOST, running, AWAY, done, _lines("last", after=2), done)
    with scripted(*script, _lines(after=2)) as server:
        told = jr("logs", "one", "--follow", "--url", server.url)
    assert told.code == 0, told.err
    assert [line.split("info")[1].strip() for line in told.out.splitlines()] == ["first", "last"]
    assert server.asked[-3][0].endswith("after=1")
