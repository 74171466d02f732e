"""A filter whose text is empty never means all there are, and what a command lacks is said to its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from jobrunner.cli.exits import Exit
from jobrunner.client.local import Local
from jobrunner.client.operations import RemoteOperations
from jobrunner.errors import InvalidInput
from tests.cli.conftest import Jr


@pytest.fixture
def one(jr: Jr, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Jr:
    """A task that waits."""
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    assert jr("submit", "add", "--task-id", "one").code == 0
    return jr


def test_commands_refuse_it(one: Jr) -> None:
    for option in ("--queue", "--type", "--tag", "--node", "--q"):
        told = one("cancel", option, "", "--status", "pending", "--yes")
        assert (told.code, told.out) == (Exit.USAGE, ""), option
        assert f"{option}: it is empty" in told.err
    assert one("delete", "--queue=", "--until", "1s", "--yes").code == Exit.USAGE
    assert one("list", "--queue", "").code == Exit.USAGE
    assert one("list", "--status", "pending", "--quiet").out == "one\n"


def test_the_database_refuses_it(one: Jr, sqlite_url: str) -> None:
    with Local(sqlite_url) as desk:
        for wish in ({"queue": ""}, {"statuses": ["pending"], "prefix": ""}):
            with pytest.raises(InvalidInput, match="is empty"):
                desk.operate("cancel", chosen=wish)
        with pytest.raises(InvalidInput, match="must say which"):
            desk.operate("cancel", chosen={"statuses": [], "queue": None})
        assert desk.task("one")["status"] == "pending"


def test_it_goes_to_a_server_as_it_is_which_refuses_it() -> None:
    class Sent(RemoteOperations):
        def call(
            self,
            method: str,
            path: str,
            query: Mapping[str, Any] | None = None,
            body: Mapping[str, Any] | None = None,
            *,
            needed: Collection[str] | None,
        ) -> dict[str, Any]:
            return dict(body or {})

    chosen = {"statuses": ["pending"], "queue": "", "tag": None}
    assert Sent().operate("cancel", chosen=chosen)["filter"] == {"status": ["pending"], "queue": ""}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("cancel",), "by --status, --type, --queue, --tag, --since or the like. See: jobrunner cancel --help"),
        (("delete", "--yes"), "or say which tasks by --status"),
        (("list", "--since", "1x"), "like 15m, 2h, 1d or 2026-"),
        (("delete", "done"), "delete of task done is to be confirmed"),
        (("delete", "done", "one"), "delete of these 2 tasks"),
        (("delete", "--queue", "slow"), "it may concern many tasks"),
    ],
)
def test_what_is_missing_is_said_to_its_end(one: Jr, words: tuple[str, ...], told: str) -> None:
    assert one("submit", "add", "--task-id", "done").code == 0
    assert one("cancel", "done").code == 0
    found = one(*words)
    assert (found.code, found.out) == (Exit.USAGE, "")
    assert told in found.err
