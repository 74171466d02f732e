"""Failures of one kind together, figures, and doing something about them; equal at the database and over REST."""

from __future__ import annotations

import pytest

from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.processes import Processes, free_port


def test_kinds_of_failures_and_figures(
    jr: Jr, postgres_url: str, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", postgres_url)
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    port = free_port()
    words = ("worker", "--port", str(port), "--handlers", chores)
    worker = processes.start(*words, env={"JOBRUNNER_DATABASE_URL": postgres_url}, port=port)
    worker.wait_healthy()
    there = ("--url", worker.url)
    for task_id in ("one", "two"):
        assert jr("submit", "broken", "--task-id", task_id, "--wait", "--wait-timeout", "20").code == Exit.TASK_FAILED
    assert jr("submit", "add", "x:=1", "--wait", "--wait-timeout", "20").code == 0
    (group,) = jr("errors", "--json", *there).json["errors"]
    assert jr("errors", "--json").json == jr("errors", "--json", *there).json
    assert (group["task_type"], group["count"], group["error_class"]) == ("broken", 2, "ValueError")
    assert "no such luck" in jr("errors").out
    assert jr("errors", "list", "--json").json == jr("errors", "list", "--json", *there).json
    assert jr("errors", "list").out == jr("errors").out
    told = jr("errors", *there, "list")
    assert (told.code, "options stand behind the command" in told.err) == (Exit.USAGE, True)
    kind = jr("errors", "list", "--quiet").out.strip()
    shown = jr("errors", "show", kind, "--json", *there).json
    assert set(shown["task_ids"]) == {"one", "two"}
    assert jr("errors", "show", kind, "--json").json == shown
    told = jr("errors", "show", "nobody")
    assert (told.code, told.out) == (Exit.NOT_FOUND, "")
    assert "jobrunner errors" in told.err
    figures = jr("stats", "--json").json
    assert {one["name"]: (one["completed"], one["failed"]) for one in figures["types"]} == {
        "add": (1, 0),
        "broken": (0, 2),
    }
    assert jr("stats", "--json", *there).json.keys() == figures.keys()
    assert "\nadd\t1\t0\t" in jr("stats").out
    assert jr("errors", "retry", kind, "--dry-run").out == "retry would concern 2 tasks\n"
    assert jr("errors", "retry", kind).code == Exit.USAGE
    assert jr("errors", "retry", kind, "--yes", *there).out == "retry: 2 tasks changed\n"
