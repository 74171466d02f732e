"""What cannot be sent, or would arrive as something else, is refused before anything is sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from jobrunner.client import Client, Handle, Request
from jobrunner.client.remote import Remote
from jobrunner.errors import InvalidInput
from tests.client.answering import Leaving

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"traceparent": "00-é"}, "/traceparent: must be printable ASCII"),
    ({"traceparent": "00\nX-API-Key: other"}, "/traceparent: must be printable ASCII"),
    ({"run_at": datetime(2026, 1, 31, 9, 30)}, "/run_at: must be a time with its zone"),
    ({"expires_at": "2026-01-31"}, "/expires_at: must be a time with its zone"),
    ({"priority": 11}, "/priority: must be a whole number from 1 to 10"),
]


@pytest.mark.parametrize(("options", "told"), WRONG, ids=[next(iter(options)) for options, _ in WRONG])
def test_options(options: Any, told: str) -> None:
    with Leaving([{}]) as server:
        with Client(server.url, patience=0) as client:
            with pytest.raises(InvalidInput, match=told):
                client.submit("nap", {}, **options)
            (refused,) = client.submit_many([Request("nap", {}, options)])
            assert isinstance(refused, InvalidInput)
        with Remote(server.url) as desk, pytest.raises(InvalidInput, match=told):
            desk.submit("nap", {}, options)
    assert server.asked == []


DATA: list[tuple[Any, str]] = [
    ([1, 2], "/task_data: must be an object"),
    ([], "/task_data: must be an object"),
    ({"deep": [{1: 2}]}, "/task_data/deep/0: keys must be text, not int"),
    ({"set": {1}}, "/task_data/set: set is no JSON type"),
]


def test_data_and_keys(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    at_a_server, here = Client("http://127.0.0.1:1", patience=0), Client(database_url=sqlite_url, run_here=False)
    for client in (at_a_server, here):
        with client:
            for data, told in DATA:
                with pytest.raises(InvalidInput, match=told):
                    client.submit("nap", data)
                (refused,) = client.submit_many([Request("nap", data)])
                assert told in str(refused)
    for key in ("schlüssel", "a-key\nHost: elsewhere", " a-key"):
        with pytest.raises(InvalidInput, match="/api_key: must be printable ASCII"):
            Client("http://127.0.0.1:1", api_key=key)


def test_options_that_a_database_does_not_know(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "true")
    wrong: Any = [
        ({"prio": 3}, "/prio: unknown field; did you mean 'priority'?"),
        ({"bogus": 9}, "/bogus: unknown field"),
    ]
    with Client(database_url=sqlite_url, run_here=False) as client:
        told = client.submit_many([Request("nap"), *(Request("nap", {}, options) for options, _ in wrong)])
        assert isinstance(told[0], Handle)
        assert [str(one) for one in told[1:]] == [f"the request is refused: {detail}" for _, detail in wrong]
        for options, _ in wrong:
            with pytest.raises(InvalidInput, match="unknown field"):
                client.submit("nap", **options)
