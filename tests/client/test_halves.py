"""A change and the look behind it are two calls: what the second comes to says nothing of the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobrunner.client import Client, OutcomeUnknown, Request, Task
from jobrunner.client.remote import Remote
from jobrunner.client.tries import Tries
from jobrunner.db.lock import FileLock
from jobrunner.errors import (
    DatabaseUnavailable,
    InvalidInput,
    JobrunnerError,
    SchemaMismatch,
    StateConflict,
    TaskExists,
    UnknownTaskType,
)
from tests.api.serving import serving
from tests.client.answering import TASK, Leaving, Script

ACCEPTED = {"task_id": "mine", "status": "pending"}
PENDING = {**TASK, "task_id": "mine", "status": "pending"}


@pytest.fixture
def leaving() -> Iterator[Leaving]:
    """Goes away right after it took the first call, and comes back."""
    with Leaving([ACCEPTED, None, PENDING, PENDING, PENDING]) as opened:
        yield opened


def retries(leaving: Leaving) -> list[str]:
    return [line for line in leaving.asked if line.startswith("POST")]


def test_only_the_look_is_asked_again_over_rest(leaving: Leaving) -> None:
    with Client(leaving.url, patience=5) as client:
        assert client.retry("mine").status == "pending"
    assert len(retries(leaving)) == 1


def test_only_the_look_is_asked_again_at_a_file_that_a_server_has(leaving: Leaving, sqlite_url: str) -> None:
    lock = FileLock(sqlite_url.removeprefix("sqlite:///"))
    lock.take(leaving.url)
    try:
        with Client(database_url=sqlite_url, patience=5) as client:
            assert client.retry("mine").status == "pending"
    finally:
        lock.drop()
    assert len(retries(leaving)) == 1


def test_of_many_at_such_a_file_none_is_told_as_refused_that_may_be_there(sqlite_url: str) -> None:
    script = Script([(503, {}, {"code": "database_unavailable"}), (202, {}, ACCEPTED)])
    lock = FileLock(sqlite_url.removeprefix("sqlite:///"))
    with serving(script) as url:
        lock.take(url)
        try:
            with Client(database_url=sqlite_url, patience=2) as client:
                told = client.submit_many([Request("nap"), Request("nap")])
        finally:
            lock.drop()
    assert [getattr(one, "task_id", one) for one in told] == ["mine", "mine"]
    assert len(script.asked) == 3
    assert script.asked[0][2]["task_id"] == script.asked[1][2]["task_id"]


CALLS: list[tuple[Callable[[Client], Task], Callable[[Remote], Any], str]] = [
    (lambda client: client.cancel("mine"), lambda desk: desk.cancel("mine"), "asking again is safe"),
    (lambda client: client.retry("mine"), lambda desk: desk.retry("mine"), "look at it first"),
]


@pytest.mark.parametrize(("ask", "ask_desk", "advice"), CALLS, ids=["cancel", "retry"])
def test_what_was_taken_is_never_told_as_undone(
    ask: Callable[[Client], Task], ask_desk: Callable[[Remote], Any], advice: str
) -> None:
    script = Script([(202, {}, ACCEPTED), (503, {}, {"detail": "gone"})])
    with serving(script) as url, Client(url, patience=0.1) as client:
        with pytest.raises(OutcomeUnknown, match=f"was accepted, and .*gone.*{advice}"):
            ask(client)
        script.answers = [(202, {}, ACCEPTED), (503, {}, {"detail": "gone"})]
        with Remote(url) as desk, pytest.raises(OutcomeUnknown, match=f"was accepted, and .*gone.*{advice}"):
            ask_desk(desk)
        script.answers = [(500, {}, {})]
        with pytest.raises(OutcomeUnknown, match=advice):  # of a lost answer too
            ask(client)


@pytest.mark.parametrize(
    "refusal",
    [
        InvalidInput("no"),
        UnknownTaskType("nap"),
        TaskExists("task_id", "mine", task_id="mine"),
        StateConflict("mine", found="completed", wish="cancelled"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_database_refuses_after_an_outage_was_not_done(refusal: JobrunnerError) -> None:
    tries = Tries(10, changes=True)
    tries.after(DatabaseUnavailable("away"))
    with pytest.raises(type(refusal)):
        tries.after(refusal)
    with pytest.raises(OutcomeUnknown):
        tries.after(SchemaMismatch("the schema is older"))
