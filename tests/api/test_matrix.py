"""Every route against every kind of key, generated from the table of routes: a new one is in it by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from jobrunner.api import keyring
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import api_keys
from jobrunner.db.types import db_now
from jobrunner.queue import store
from jobrunner.queue.key import GRANTED, Scope
from jobrunner.queue.request import new_task
from tests.api.asking import assert_problem
from tests.api.conftest import KEY, Api
from tests.api.test_doors import GUARDED, admitted, ask, endless

ENOUGH = {
    Scope.READ: {Scope.READ, Scope.ADMIN},
    Scope.SUBMIT: {Scope.SUBMIT, Scope.ADMIN},
    Scope.OPERATE: {Scope.OPERATE, Scope.ADMIN},
    Scope.ADMIN: {Scope.ADMIN},
}
"""Which single scope opens a route that declares this one."""


@dataclass(frozen=True)
class Bunch:
    """One key of each kind, and the application that knows them."""

    api: Api
    by_scope: dict[Scope, str]
    refused: dict[str, str]
    other_queue: str

    def client(self, text: str | None) -> TestClient:
        headers = {} if text is None else {"x-api-key": text}
        return self.api.client(
            api_key=KEY, host="0.0.0.0", address="203.0.113.9", base_url="http://api.example", headers=headers
        )


@pytest.fixture
def bunch(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bunch]:
    """The doors ask for keys alone, which both databases keep alike: one kind will do."""
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    opened = open_database(sqlite_url)
    with opened.begin() as conn:
        store.enqueue(conn, new_task("work", {"secret": "of-mine"}, task_id="the-task_id", queue="mine"))
    yield _bunch(opened)
    opened.dispose()


def _bunch(database: Database) -> Bunch:
    with database.begin() as conn:
        by_scope = {scope: store.issue_key(conn, f"only-{scope}", [scope]).text for scope in GRANTED}
        expired, revoked = (store.issue_key(conn, name, ["admin"]) for name in ("expired", "revoked"))
        conn.execute(update(api_keys).where(api_keys.c.id == expired.id).values(expires_at=db_now(-1)))
        store.revoke_key(conn, revoked.id)
        other = store.issue_key(conn, "other", ["read", "submit", "operate"], queues=["other"])
    refused = {"expired": expired.text, "revoked": revoked.text, "malformed": f"{revoked.text}x", "empty": " "}
    return Bunch(Api(database), by_scope, refused, other.text)


@pytest.mark.parametrize(("call", "name"), GUARDED, ids=[name for _, name in GUARDED])
def test_every_route_against_every_key(bunch: Bunch, call: Any, name: str) -> None:
    method, path, row = call
    asked: Counter[str] = Counter()
    assert_problem(ask(bunch.client(None), method, path), 401, "key_needed")
    for kind, text in bunch.refused.items():
        assert ask(bunch.client(text), method, path).status_code == 401, kind
        asked["refused"] += 1
    for scope, text in bunch.by_scope.items():
        opens = scope in ENOUGH[row.scope]
        if opens and endless(path):
            continue  # a stream: tests of events read it
        answer = ask(bunch.client(text), method, path)
        assert admitted(answer) == opens, f"{name} with {scope}: {answer.status_code} {answer.text}"
        if not opens:
            assert_problem(answer, 403, "forbidden")
        asked["scopes"] += 1
    if not endless(path) or "{task_id}" in path:  # of a task that is not there for it no stream begins
        _ask_of_another_queue(bunch, method, path, row)
        asked["other queue"] += 1
    print(f"FIGURE {name}: {dict(asked)}")


def _ask_of_another_queue(bunch: Bunch, method: str, path: str, row: Any) -> None:
    answer = ask(bunch.client(bunch.other_queue), method, path)
    assert "of-mine" not in answer.text
    if row.scope is Scope.ADMIN or not row.by_queue:
        assert_problem(answer, 403, "forbidden")
    elif "{task_id}" in path:
        assert_problem(answer, 404, "task_not_found")
        assert '"mine"' not in answer.text
    else:
        assert admitted(answer)
        assert '"mine"' not in answer.text
