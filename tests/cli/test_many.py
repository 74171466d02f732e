"""Work on many tasks by command, at the database and over REST."""

from __future__ import annotations

import pytest

from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.processes import Processes, free_port

pytestmark = pytest.mark.ci


@pytest.fixture
def many(at: Jr, monkeypatch: pytest.MonkeyPatch) -> Jr:
    """Five tasks that wait, three of them in one queue."""
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    for number in range(5):
        assert at("submit", "add", "--task-id", f"t{number}", "--queue", "q" if number < 3 else "other").code == 0
    return at


def test_all_that_fit(many: Jr) -> None:
    assert many("cancel", "--queue", "q", "--dry-run").out == "cancel would concern 3 tasks\n"
    assert many("list", "--status", "pending", "--quiet").out.count("\n") == 5
    told = many("cancel", "--queue", "q")
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert "--yes" in told.err
    told = many("cancel", "--queue", "q", "--yes", "--json")
    assert told.code == 0, told.err
    assert (told.json["state"], told.json["matched"], told.json["changed"]) == ("done", 3, 3)
    assert set(many("list", "--status", "cancelled", "--quiet").out.split()) == {"t0", "t1", "t2"}
    assert many("retry", "--status", "cancelled", "--q", "t1", "--yes").out == "retry: 1 tasks changed\n"
    assert many("delete", "--status", "cancelled", "--yes").out == "delete: 2 tasks changed\n"
    assert set(many("list", "--quiet").out.split()) == {"t1", "t3", "t4"}
    listed = many("operations", "list", "--json").json["operations"]
    assert [one["action"] for one in listed] == ["delete", "retry", "cancel", "cancel"]
    shown = many("operations", "show", listed[0]["id"], "--json").json
    assert (shown["state"], shown["changed"]) == ("done", 2)
    assert "POST /api/v1/operations" in many("audit").out


def test_ended_ones_are_run_again(many: Jr) -> None:
    assert many("cancel", "t0", "t1").code == 0
    told = many("operations", "begin", "rerun", "--queue", "q")
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert many("operations", "begin", "rerun", "--queue", "q", "--dry-run").out == "rerun would concern 2 tasks\n"
    assert many("operations", "begin", "rerun", "--queue", "q", "--yes").out == "rerun: 2 tasks changed\n"
    assert many("list", "--queue", "q", "--status", "pending", "--quiet").out.count("\n") == 3
    assert many("operations", "begin", "cancel", "t2").out == "cancel: 1 tasks changed\n"
    assert many("operations", "begin", "delete", "t2").code == Exit.USAGE
    told = many("operations", "begin", "forget", "t2")
    assert (told.code, told.out) == (Exit.USAGE, "")


def test_some_by_their_ids_and_what_contradicts_itself(many: Jr) -> None:
    assert many("cancel", "t0", "t1", "nobody").out == "cancel: 2 tasks changed, 1 unchanged\n"
    told = many("delete", "t3", "--yes")
    assert told.code == Exit.CONFLICT
    assert "is pending" in told.err
    assert many("delete", "t0").code == Exit.USAGE
    assert many("delete", "t0", "--yes").out == "delete: 1 tasks changed\n"
    assert many("status", "t0").code == Exit.NOT_FOUND
    for words in (["cancel"], ["retry", "t1", "--status", "failed"], ["cancel", "t1", "t3", "--reason", "x"]):
        told = many(*words)
        assert (told.code, told.out) == (Exit.USAGE, ""), words


def test_a_queue_is_emptied(many: Jr) -> None:
    assert many("queues", "purge", "q").code == Exit.USAGE
    assert many("queues", "purge", "q", "--dry-run").out == "cancel would concern 3 tasks\n"
    assert many("queues", "purge", "q", "--yes").out == "cancel: 3 tasks changed\n"
    assert set(many("list", "--status", "pending", "--quiet").out.split()) == {"t3", "t4"}
    assert many("queues", "purge", "nowhere", "--yes").code == Exit.NOT_FOUND


def test_over_rest(jr: Jr, sqlite_url: str, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    env = {"JOBRUNNER_DATABASE_URL": sqlite_url, "JOBRUNNER_ALLOW_UNKNOWN_TYPES": "1"}
    server = processes.start("api", "--port", str(port), env=env, port=port)
    server.wait_healthy()
    monkeypatch.setenv("JOBRUNNER_URL", server.url)
    for number in range(3):
        assert jr("submit", "add", "--task-id", f"t{number}", "--tag", "red").code == 0
    assert jr("cancel", "--tag", "red", "--since", "1h", "--dry-run").out == "cancel would concern 3 tasks\n"
    assert jr("cancel", "--tag", "red", "--q", "t0", "--yes", "--json").json["changed"] == 1
    assert jr("queues", "purge", "default", "--yes").out == "cancel: 2 tasks changed\n"
    assert jr("delete", "--status", "cancelled", "--yes").out == "delete: 3 tasks changed\n"
    assert jr("operations", "abort", "nobody").code == Exit.NOT_FOUND
