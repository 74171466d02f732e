"""A submission whose answer is lost makes one task, and says under which id it may have been stored."""

from __future__ import annotations

from typing import Any

import pytest

from jobrunner.cli import again
from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.cli.scripted import Told, scripted

LOST = None


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "PATIENCE", 0.5)


def _there(asked: dict[str, Any]) -> Told:
    """What a server says of a task that it has."""
    return 200, {"task_id": asked["task_id"], "status": "pending"}


def test_it_is_asked_for_again_under_one_id(jr: Jr) -> None:
    with scripted(LOST, (503, {"code": "database_unavailable"}), _there) as server:
        told = jr("submit", "add", "x:=1", "--json", "--url", server.url)
    assert told.code == 0, told.err
    first, second, third = server.asked
    assert first == second == third
    task_id = first[1]["task_id"]
    assert len(task_id) == 36
    assert told.json == {"task_id": task_id, "status": "pending", "created": True}, "by its first try"
    assert f"asking again, as task {task_id}" in told.err


def test_a_task_of_others_is_told_as_one(jr: Jr) -> None:
    with scripted(LOST, (200, {"task_id": "another", "status": "pending"})) as server:
        told = jr("submit", "add", "--unique-key", "k", "--url", server.url)
    assert "task another was there before" in told.err
    with scripted(LOST, _there) as server:
        told = jr("submit", "add", "--task-id", "named", "--json", "--url", server.url)
    assert told.json["created"] is False, "nobody knows: the id is not this command's own"


def test_an_operation_is_asked_for_once_and_may_have_begun(jr: Jr) -> None:
    with scripted(LOST) as server:
        told = jr("operations", "begin", "rerun", "one", "--yes", "--url", server.url)
    assert (told.code, told.out, len(server.asked)) == (Exit.UNREACHABLE, "", 1)
    assert "the operation may have begun: before you begin it again, look with: jobrunner operations list" in told.err
    assert "jobrunner up" not in told.err


@pytest.mark.parametrize("words", [("submit", "add"), ("rerun", "old")])
def test_where_none_ever_comes_the_id_is_told(jr: Jr, words: tuple[str, ...]) -> None:
    with scripted(LOST) as server:
        told = jr(*words, "--url", server.url)
    assert (told.code, told.out) == (Exit.UNREACHABLE, "")
    ids = {body["task_id"] for _, body in server.asked}
    assert (len(ids), len(server.asked) > 1) == (1, True)
    (task_id,) = ids
    last = told.err.splitlines()[-1]
    assert f"may have been stored as {task_id}: ask again with --task-id {task_id}" in last
    assert "jobrunner up" not in told.err


def test_a_schedule_is_run_once_whatever_comes(jr: Jr) -> None:
    with scripted(LOST) as server:
        told = jr("schedules", "run", "nightly", "--url", server.url)
    assert told.code == Exit.UNREACHABLE
    assert len(server.asked) == 1
    assert "may have been stored: before you run it again, look with: jobrunner list --q nightly@" in told.err


def test_what_certainly_was_not_stored_is_told_at_once(jr: Jr) -> None:
    told = jr("submit", "add", "--url", "http://127.0.0.1:1")
    assert told.code == Exit.UNREACHABLE
    assert "jobrunner up" in told.err
    with scripted((503, {"code": "draining", "detail": "it ends"})) as server:
        told = jr("submit", "add", "--url", server.url)
    assert (told.code, len(server.asked), told.err) == (Exit.UNREACHABLE, 1, "jobrunner: it ends\n")
