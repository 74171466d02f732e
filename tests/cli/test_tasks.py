"""Commands on tasks, at the database and over REST, with what a real worker made of them."""

from __future__ import annotations

import json
import pty
from pathlib import Path

import pytest

from jobrunner.cli.main import main
from tests.cli.conftest import Jr
from tests.processes import Processes

REFUSED = "jobrunner.errors.InvalidInput"
ANY_TYPE = {"JOBRUNNER_ALLOW_UNKNOWN_TYPES": "true"}


@pytest.fixture
def worked(at: Jr, database_url: str, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> Jr:
    """Five tasks that a worker ended, and one that waits."""
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    for task_id, words in {
        "sum": ["add", "x:=2", "y:=3"],
        "said": ["talk"],
        "bad": ["broken"],
        "no": ["declined"],
        "wrong": ["add", "x=two"],
    }.items():
        assert at("submit", *words, "--task-id", task_id, "--max-attempts", "1").out == f"{task_id}\n"
    worker = processes.run(
        *("worker", "--until-empty", "--handlers", chores),
        env={"JOBRUNNER_DATABASE_URL": database_url, "JOBRUNNER_PORT": "0", **ANY_TYPE},
    )
    assert worker.exit_code == 0
    ended = [json.loads(line) for line in worker.errors.splitlines() if '"attempt ended"' in line]
    assert {one["task_id"]: one.get("error_class") for one in ended} == {
        "bad": "ValueError",
        "no": None,
        "wrong": REFUSED,
    }
    assert at("submit", "add", "x:=1", "--task-id", "later", "--in", "1h", "--tag", "a", "--tag", "b").code == 0
    return at


def test_what_a_worker_made_of_them(worked: Jr) -> None:
    told = worked("wait", "sum")
    assert (told.code, json.loads(told.out), told.err) == (0, {"value": 5}, "")
    told = worked("wait", "sum", "said", "--json")
    assert told.code == 0
    assert [task["result"] for task in told.json["tasks"]] == [{"value": 5}, {"said": 2}]
    told = worked("wait", "bad")
    assert (told.code, told.out) == (4, "")
    assert "task bad failed: " in told.err
    assert "no such luck" in told.err
    told = worked("wait", "no")
    assert (told.code, told.out, told.err) == (5, "", "task no cancelled: not today\n")
    assert worked("wait", "no", "bad", "sum").code == 4
    told = worked("wait", "sum", "later", "--timeout", "0.3s")
    assert told.code == 6
    assert "later did not end in 0.3 s" in told.err
    assert worked("wait", "sum", "nobody").code == 3

    one = worked("status", "bad", "--json").json
    assert (one["status"], one["failures"], one["task_data"]) == ("failed", 1, {})
    assert [(tried["outcome"], tried["error_class"]) for tried in one["attempts"]] == [("error", "ValueError")]
    assert "wrong" not in worked("status", "wrong").err
    assert worked("status", "wrong", "--json").json["attempts"][0]["outcome"] == "refused"
    lines = dict(line.split("\t", 1) for line in worked("status", "sum").out.splitlines())
    assert (lines["status"], lines["result"], lines["attempt"]) == ("completed", '{"value": 5}', "1")
    assert "reason" not in lines
    facts, _, tried = worked("status", "bad").out.partition("\n\n")
    assert "reason\t" not in facts, "it is failed, and nothing finer"
    headers, row = (line.split("\t") for line in tried.splitlines())
    assert dict(zip(headers, row, strict=True))["error_class"] == "ValueError"
    assert "reason\tscheduled\n" in worked("status", "later").out
    later = worked("status", "later", "--json").json
    assert (later["status"], later["reason"], later["tags"]) == ("pending", "scheduled", ["a", "b"])

    kept = worked("logs", "said", "--json").json
    assert [line["message"] for line in kept["logs"]][:1] == ["first line"]
    assert kept["logs"][0]["fields"] == {"step": 1}
    told = worked("logs", "said", "--follow")
    assert "first line step=1" in told.out
    assert "\x1b" not in told.out
    assert len(worked("logs", "said", "--follow", "--json").out.splitlines()) == len(kept["logs"])
    assert worked("logs", "nobody").code == 3

    _listing(worked)
    _moving(worked)


def _listing(worked: Jr) -> None:
    told = worked("list")
    assert [row["task_id"] for row in told.rows] == ["later", "wrong", "no", "bad", "said", "sum"]
    failed = worked("list", "--status", "failed", "--status", "cancelled", "--json").json
    assert {task["task_id"] for task in failed["tasks"]} == {"wrong", "bad", "no"}
    assert failed["next_cursor"] is None
    first = worked("list", "--type", "add", "--limit", "2", "--json").json
    assert [task["task_id"] for task in first["tasks"]] == ["later", "wrong"]
    second = worked("list", "--type", "add", "--limit", "2", "--cursor", first["next_cursor"], "--json").json
    assert [task["task_id"] for task in second["tasks"]] == ["sum"]
    assert worked("list", "--queue", "elsewhere", "--json").json == {"tasks": [], "next_cursor": None}
    assert worked("list", "--cursor", "x").code == 2
    assert worked("list", "--status", "odd").code == 2


def _moving(worked: Jr) -> None:
    told = worked("cancel", "later", "--reason", "too late", "--json")
    assert (told.code, told.json["status"], told.json["error"]) == (0, "cancelled", "too late")
    assert worked("cancel", "later").out == "task later is cancelled\n"
    assert worked("cancel", "sum").code == 9
    assert worked("cancel", "nobody").code == 3
    assert worked("retry", "bad").out == "task bad is in the queue again\n"
    told = worked("retry", "bad")
    assert (told.code, told.err) == (9, "jobrunner: task 'bad' is pending, so it cannot be retried\n")
    assert worked("retry", "no", "--json").json["generation"] == 1
    assert worked("retry", "nobody").code == 3


def test_submitting_says_what_it_did(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    told = at("submit", "add", "x:=1")
    assert told.code == 2
    assert "no worker ever published 'add'" in told.err
    assert "Traceback" not in told.err
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    told = at("submit", "add", "-", "--task-id", "a", "--priority", "1", "--queue", "q", "--json", stdin='{"x": 1}')
    assert told.json == {"task_id": "a", "status": "pending", "created": True}
    told = at("submit", "add", "x:=1", "--task-id", "a", "--queue", "q", "--json")
    assert told.json == {"task_id": "a", "status": "pending", "created": False}
    assert "was there before" in told.err
    told = at("submit", "add", "x:=2", "--task-id", "a", "--queue", "q")
    assert (told.code, told.out) == (9, "")
    assert "is taken by a different request" in told.err
    task = at("status", "a", "--json").json
    assert (task["priority"], task["queue"], task["task_data"], task["attempts"]) == (1, "q", {"x": 1}, [])
    told = at("submit", "add", "--priority", "11", "--task-id", "a/b")
    assert told.code == 2
    assert "/priority" in told.err
    assert "/task_id" in told.err
    told = at("submit", "add", "--at", "2030-01-31T09:30:00+08:00", "--expires", "2031-01-01T00:00:00Z", "--json")
    task = at("status", told.json["task_id"], "--json").json
    assert (task["run_at"], task["expires_at"]) == ("2030-01-31T01:30:00.000000Z", "2031-01-01T00:00:00.000000Z")
    told = at("submit", "add", "--unique-key", "k", "--timeout", "1m", "--max-attempts", "7", "--json")
    task = at("status", told.json["task_id"], "--json").json
    assert (task["unique_key"], task["timeout"], task["max_attempts"]) == ("k", 60.0, 7)
    assert at("submit", "add", "--unique-key", "k", "y:=2", "--json").json["task_id"] == task["task_id"]
    told = at("submit", "add", "--wait-timeout", "0.1")
    assert told.code == 6


def test_a_first_submit_needs_no_worker_before_it_and_is_checked_like_any_other(
    postgres_url: str, processes: Processes
) -> None:
    env = {"JOBRUNNER_DATABASE_URL": postgres_url}
    made = processes.run("submit", "data_import", "--task-id", "first", env=env)
    assert (made.exit_code, made.output) == (0, "first\n"), made.errors
    for wrong, at in (("start_date=2024-13-01", "/task_data/start_date"), ("freq=5min", "/task_data/freq")):
        refused = processes.run("submit", "data_import", wrong, "--task-id", "wrong", env=env)
        assert refused.exit_code == 2
        assert at in refused.errors
    assert processes.run("status", "wrong", env=env).exit_code == 3, "nothing was stored"


def test_a_submit_finds_handlers_where_a_worker_does(sqlite_url: str, processes: Processes, chores: str) -> None:
    # As the console script has it: Python itself does not look into the working directory.
    python = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    env = {"JOBRUNNER_DATABASE_URL": sqlite_url, "JOBRUNNER_HANDLERS": chores, **python}
    made = processes.run("submit", "add", "x:=1", "--task-id", "first", env=env)
    assert (made.exit_code, made.output) == (0, "first\n"), made.errors
    refused = processes.run("submit", "add", "x:=1", env=env | {"JOBRUNNER_HANDLERS": "elsewhere"})
    assert refused.exit_code == 2
    assert "module 'elsewhere' cannot be imported: No module named 'elsewhere'. Searched: " in refused.errors
    assert f", {processes.home}; PYTHONPATH names other folders" in refused.errors


def test_a_terminal_shows_the_beginning_of_a_long_error(
    jr: Jr, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    long = "spam " * 180 + "end"
    jr("submit", "add", "--task-id", "a")
    assert jr("cancel", "a", "--reason", long, "--json").json["error"] == long
    assert long in jr("status", "a").out, "a program that reads it wants all"
    ours, terminal = pty.openpty()
    with open(terminal, "w") as out, open(ours, "rb", buffering=0) as seen:
        with monkeypatch.context() as there:
            there.setattr("sys.stdout", out)
            main(["status", "a"])
        told = ""
        while "--json)" not in told:
            told += seen.read(8_000).decode()
    assert "(903 characters: all of it with --json)" in told
    assert 90 <= told.count("spam") <= 100
    assert long[-20:] not in told


def test_lists_by_every_filter_and_in_every_form(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    for task_id, words in {"a-1": ["--tag", "red"], "a-2": ["--queue", "q"], "b-1": []}.items():
        assert at("submit", "add", "--task-id", task_id, *words).code == 0
    for words, found in (
        (["--tag", "red"], ["a-1"]),
        (["--queue", "q"], ["a-2"]),
        (["--q", "a-"], ["a-2", "a-1"]),
        (["--since", "1h", "--limit", "1"], ["b-1"]),
        (["--until", "1h"], []),
        (["--since", "2040-01-01"], []),
        (["--node", "nobody"], []),
    ):
        assert at("list", *words, "--quiet").out.split() == found, words
        assert [task["task_id"] for task in at("list", *words, "--json").json["tasks"]] == found
    monkeypatch.setattr("jobrunner.cli.look.PAGE", 2)
    lines = at("list", "--jsonl").out.splitlines()
    assert [json.loads(line)["task_id"] for line in lines] == ["b-1", "a-2", "a-1"]
    assert at("list", "--jsonl", "--quiet").code == 2
    assert at("list", "--since", "yesterday").code == 2


def test_why_it_does_not_run(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    assert at("submit", "add", "--task-id", "a", "--queue", "q", "--in", "1h").code == 0
    assert at("queues", "pause", "q", "--reason", "later").code == 0
    told = at("why", "a", "--json").json
    assert {"not_due", "paused_queue"} <= {one["code"] for one in told["reasons"]}
    shown = at("why", "a").out
    assert shown.startswith("task a is pending\ncode\tdetail\n")
    assert "later" in shown
    assert at("why", "nobody").code == 3


def test_another_one_like_it(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    made = ["submit", "add", "x:=1", "y=a", "--task-id", "one", "--queue", "q", "--priority", "2", "--unique-key", "k"]
    assert at(*made, "--tag", "red", "--in", "1h").code == 0
    told = at("rerun", "one", "y=b", "--task-id", "two", "--priority", "3", "--json")
    assert told.json == {"task_id": "two", "status": "pending", "created": True}
    task = at("status", "two", "--json").json
    assert (task["task_data"], task["queue"], task["priority"]) == ({"x": 1, "y": "b"}, "q", 3)
    assert (task["tags"], task["reason"], task["unique_key"]) == (["red"], "due", None)
    assert "was there before" in at("rerun", "one", "y=b", "--task-id", "two", "--priority", "3").err
    assert at("rerun", "one", "--task-id", "two").code == 9
    assert at("status", at("rerun", "one").out.strip(), "--json").json["task_data"] == {"x": 1, "y": "a"}
    assert at("rerun", "nobody").code == 3
