"""Keys: what each lets in, how they end, and that every change is in the audit."""

from __future__ import annotations

import hashlib
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from jobrunner.api import keyring, sessions
from jobrunner.db.tables import api_keys, audit
from jobrunner.db.types import db_now
from jobrunner.queue import key, store, views
from tests.api.asking import EXECUTE, assert_problem, execute
from tests.api.conftest import KEY, Api

FAR: dict[str, Any] = {"address": "203.0.113.9", "host": "0.0.0.0", "base_url": "http://api.example"}


@pytest.fixture
def admin(api: Api) -> TestClient:
    return api.admin(**FAR)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are read again with each request, so that tests need not sleep."""
    monkeypatch.setattr(keyring, "FRESH", 0.0)


def made(admin: TestClient, *scopes: str, **told: Any) -> dict[str, Any]:
    answer = admin.post("/api/v1/keys", json={"name": "test", "scopes": [*scopes], **told})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def bearer(api: Api, text: str) -> TestClient:
    return api.client(api_key=KEY, headers={"authorization": f"Bearer {text}"}, **FAR)


def test_a_key_is_told_once_and_only_its_digest_is_kept(api: Api, admin: TestClient) -> None:
    told = made(admin, "read")
    assert key.KEY.fullmatch(told["key"])
    assert key.id_of(told["key"]) == told["id"]
    listed = admin.get("/api/v1/keys").text
    assert told["id"] in listed
    secret = told["key"].split("_")[2]
    assert secret not in listed
    assert secret not in admin.get("/api/v1/audit").text
    with api.database.read() as conn:
        rows = [str(row) for table in (api_keys, audit) for row in conn.execute(select(table))]
    assert not any(secret in row for row in rows)


@pytest.mark.parametrize("spoiled", ["x", "", "jr_", "jr_aaaaaaaaaa_b_c"])
def test_what_is_no_key_opens_nothing(api: Api, admin: TestClient, spoiled: str) -> None:
    text = made(admin, "admin")["key"]
    for wrong in (spoiled or "?", text[:-1], text + "a", text.swapcase(), text.replace("_", "-")):
        assert_problem(bearer(api, wrong).get("/api/v1/tasks"), 401, "wrong_key")


def test_a_key_with_another_secret_is_wrong_although_its_check_is_right(api: Api, admin: TestClient) -> None:
    known = made(admin, "admin")
    _, other = key.make()
    body = f"jr_{known['id']}_{other.split('_')[2]}"
    forged = f"{body}_{key._check(body)}"
    assert key.id_of(forged) == known["id"]
    assert_problem(bearer(api, forged).get("/api/v1/tasks"), 401, "wrong_key")


def test_each_scope_lets_in_where_it_is_asked_for(api: Api, admin: TestClient) -> None:
    with api.database.begin() as conn:
        store.issue_key(conn, "unused", ["read"])
    reads = bearer(api, made(admin, "read")["key"])
    submits = bearer(api, made(admin, "submit")["key"])
    operates = bearer(api, made(admin, "operate")["key"])
    assert reads.get("/api/v1/tasks").status_code == 200
    assert_problem(execute(reads), 403, "forbidden")
    assert execute(submits, task_id="one").status_code == 202
    assert_problem(submits.get("/api/v1/tasks/one"), 403, "forbidden")
    assert_problem(reads.post("/api/v1/tasks/one/cancel", json={}), 403, "forbidden")
    assert operates.post("/api/v1/tasks/one/cancel", json={}).status_code == 200
    for client in (reads, submits, operates):
        assert_problem(client.get("/api/v1/keys"), 403, "forbidden")
        assert_problem(client.post("/api/v1/keys", json={"name": "x", "scopes": ["admin"]}), 403, "forbidden")
    assert bearer(api, made(admin, "admin")["key"]).get("/api/v1/keys").status_code == 200


def test_the_key_of_one_queue_sees_nothing_of_another(api: Api, admin: TestClient) -> None:
    mine = bearer(api, made(admin, "read", "submit", "operate", queues=["mine"])["key"])
    assert execute(admin, task_id="theirs", queue="theirs", unique_key="k").status_code == 202
    assert execute(mine, task_id="mine", queue="mine").status_code == 202
    assert [task["task_id"] for task in mine.get("/api/v1/tasks").json()["tasks"]] == ["mine"]
    assert mine.get("/api/v1/tasks?queue=theirs").json()["tasks"] == []
    for path in ("", "/attempts", "/logs", "?wait=20"):
        there = mine.get(f"/api/v1/tasks/theirs{path}")
        missing = mine.get(f"/api/v1/tasks/missing{path}")
        assert_problem(there, 404, "task_not_found")
        alike = [re.sub("theirs|missing|[0-9a-f]{16}", "", one.text) for one in (there, missing)]
        assert alike[0] == alike[1]
    assert_problem(mine.get("/api/v1/task/theirs/status?wait=20"), 404, "task_not_found")
    for action in ("cancel", "retry"):
        assert_problem(mine.post(f"/api/v1/tasks/theirs/{action}", json={}), 404, "task_not_found")
    assert_problem(execute(mine, queue="theirs"), 403, "forbidden")
    assert_problem(execute(mine), 403, "forbidden")
    told = assert_problem(execute(mine, queue="mine", unique_key="k"), 409, "task_exists")
    assert "theirs" not in str(told)
    for path in ("/api/v1/overview", "/api/v1/nodes", "/api/v1/schedules", "/live", "/"):
        assert_problem(mine.get(path), 403, "forbidden")
    assert admin.get("/api/v1/tasks/theirs").json()["status"] == "pending"


def test_a_key_ends_by_revocation_and_by_time(api: Api, admin: TestClient) -> None:
    revoked, timed = made(admin, "read"), made(admin, "read", expires_in=3_600)
    for told in (revoked, timed):
        assert bearer(api, told["key"]).get("/api/v1/tasks").status_code == 200
    assert admin.delete(f"/api/v1/keys/{revoked['id']}").status_code == 204
    assert admin.delete(f"/api/v1/keys/{revoked['id']}").status_code == 204
    with api.database.begin() as conn:
        conn.execute(update(api_keys).where(api_keys.c.id == timed["id"]).values(expires_at=db_now(-1)))
    for told in (revoked, timed):
        assert_problem(bearer(api, told["key"]).get("/api/v1/tasks"), 401, "wrong_key")
        assert_problem(admin.post(f"/api/v1/keys/{told['id']}/rotate", json={}), 404, "key_not_found")
    assert_problem(admin.delete("/api/v1/keys/nobody"), 404, "key_not_found")


def test_two_keys_overlap_while_one_follows_the_other(api: Api, admin: TestClient) -> None:
    old = made(admin, "read", "submit", queues=["a", "b"], expires_in=7_200, rate=100)
    answer = admin.post(f"/api/v1/keys/{old['id']}/rotate", json={"overlap": 3_600})
    assert answer.status_code == 201
    new = answer.json()
    assert {name: new[name] for name in ("name", "scopes", "queues", "rate")} == {
        name: old[name] for name in ("name", "scopes", "queues", "rate")
    }
    assert (new["replaces"], new["expires_at"]) == (old["id"], old["expires_at"])
    for text in (old["key"], new["key"]):
        assert bearer(api, text).get("/api/v1/tasks").status_code == 200
    at_once = admin.post(f"/api/v1/keys/{new['id']}/rotate", json={"overlap": 0}).json()
    assert_problem(bearer(api, new["key"]).get("/api/v1/tasks"), 401, "wrong_key")
    assert bearer(api, at_once["key"]).get("/api/v1/tasks").status_code == 200


@pytest.mark.parametrize("lasts", [None, 7_200])
def test_a_rotation_whose_answer_was_lost_is_asked_for_again(api: Api, admin: TestClient, lasts: float | None) -> None:
    old = made(admin, "read", **({"expires_in": lasts} if lasts else {}))
    path = f"/api/v1/keys/{old['id']}/rotate"
    lost, second = (admin.post(path, json={"overlap": 60}).json() for _ in range(2))
    assert admin.delete(f"/api/v1/keys/{second['id']}").status_code == 204
    new = admin.post(path, json={"overlap": 3_600}).json()
    assert (new["replaces"], new["expires_at"]) == (old["id"], old["expires_at"]), "not the end that the first one set"
    assert_problem(bearer(api, lost["key"]).get("/api/v1/tasks"), 401, "wrong_key")
    for text in (old["key"], new["key"]):
        assert bearer(api, text).get("/api/v1/tasks").status_code == 200
    with api.database.begin() as conn:
        store.note_used(conn, [new["id"]])
        ends = conn.execute(select(api_keys.c.expires_at).where(api_keys.c.id == old["id"])).scalar_one()
        assert ends > views.now(conn) + timedelta(seconds=3_000), "the old one goes on as told last"
    told = assert_problem(admin.post(path, json={}), 409, "key_replaced")
    assert new["id"] in told["detail"]
    assert bearer(api, new["key"]).get("/api/v1/tasks").status_code == 200


def test_the_last_use_of_a_key_is_known(api: Api, admin: TestClient) -> None:
    for_header, for_browser = made(admin, "read"), made(admin, "read")
    assert for_header["used_at"] is None
    bearer(api, for_header["key"]).get("/api/v1/tasks")
    api.client(api_key=KEY, **FAR).post("/login", data={"key": for_browser["key"]})
    deadline = time.monotonic() + 20
    while not all(one["used_at"] for one in admin.get("/api/v1/keys").json()["keys"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nobody_who_asks_waits_for_the_note_of_a_use(api: Api, admin: TestClient) -> None:
    client = bearer(api, made(admin, "read")["key"])
    with api.database.begin() as conn:  # as SQLite's writer, and with this row on PostgreSQL
        conn.execute(update(api_keys).values(name="changing"))
        began = time.monotonic()
        assert [client.get("/api/v1/tasks").status_code for _ in range(3)] == [200] * 3
        assert time.monotonic() - began < 4


def test_a_key_asks_as_often_as_its_rate_allows_by_whatever_way(api: Api, admin: TestClient) -> None:
    told = made(admin, "read", rate=0.5)
    slow = bearer(api, told["key"])
    assert slow.get("/api/v1/tasks").status_code == 200
    refused = slow.get("/api/v1/tasks")
    assert_problem(refused, 429, "too_many_requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    browser = api.client(api_key=KEY, **FAR)
    assert browser.post("/login", data={"key": told["key"]}).status_code == 303
    assert_problem(browser.get("/api/v1/tasks"), 429, "too_many_requests")
    assert_problem(browser.post("/login", data={"key": told["key"]}), 429, "too_many_requests")
    assert all(admin.get("/api/v1/tasks").status_code == 200 for _ in range(20))


@pytest.mark.parametrize(
    ("told", "pointer"),
    [
        ({"scopes": ["root"]}, "/scopes"),
        ({"scopes": ["open"]}, "/scopes"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["read"], "queues": []}, "/queues"),
        ({"scopes": ["admin"], "queues": ["a"]}, "/queues"),
        ({"scopes": ["read"], "queues": ["a\n"]}, "/queues/0"),
        ({"scopes": ["read"], "expires_in": 0}, "/expires_in"),
        ({"scopes": ["read"], "rate": -1}, "/rate"),
        ({"scopes": ["read"], "rate": 1e300}, "/rate"),
        ({"scopes": ["read"], "name": "a\tb"}, "/name"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(admin: TestClient, told: dict[str, Any], pointer: str) -> None:
    problem = assert_problem(admin.post("/api/v1/keys", json={"name": "x", **told}), 422, "invalid_input")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert admin.get("/api/v1/keys").json()["keys"] == []


def test_the_first_key_closes_the_door_that_stood_open_to_this_machine_for_good(api: Api) -> None:
    here = api.client()
    told = here.post("/api/v1/keys", json={"name": "owner", "scopes": ["admin"], "expires_in": 60}).json()
    assert_problem(here.get("/api/v1/tasks"), 401, "key_needed")
    assert here.get("/api/v1/tasks", headers={"x-api-key": told["key"]}).status_code == 200
    with api.database.begin() as conn:
        conn.execute(update(api_keys).values(expires_at=db_now(-1)))
    for client in (here, api.client()):
        assert_problem(client.get("/api/v1/keys"), 401, "key_needed")
        assert_problem(client.post("/api/v1/keys", json={"name": "mine", "scopes": ["admin"]}), 401, "key_needed")
    assert here.get("/healthz").status_code == 200
    with api.database.begin() as conn:
        again = store.issue_key(conn, "again", ["admin"])
    assert here.get("/api/v1/tasks", headers={"x-api-key": again.text}).status_code == 200


def test_a_session_ends_with_the_key_that_began_it(api: Api, admin: TestClient) -> None:
    told = made(admin, "read")
    browser = api.client(api_key=KEY, host="0.0.0.0", address="203.0.113.9")
    assert browser.post("/login", data={"key": "wrong"}).status_code == 401
    assert browser.post("/login", data={"key": told["key"]}).status_code == 303
    assert browser.get("/api/v1/tasks").status_code == 200
    assert_problem(browser.post("/api/v1/keys", json={"name": "x", "scopes": ["read"]}), 403, "forbidden")
    admin.delete(f"/api/v1/keys/{told['id']}")
    assert_problem(browser.get("/api/v1/tasks"), 401, "key_needed")


def test_a_copy_of_the_keys_makes_no_session(api: Api, admin: TestClient) -> None:
    told = made(admin, "admin")
    with api.database.read() as conn:
        row = conn.execute(select(api_keys).where(api_keys.c.id == told["id"])).one()
    this_week, known = int(time.time()) // key.WEEK, key.Kept.of(row.digest)
    thief = api.client(api_key=KEY, **FAR)
    for week in (this_week, this_week + 1, this_week + sessions.LASTS):
        for proof in (
            known.digest,
            known.anchor,
            key.pass_of(known.digest, week, since=known.since),
            key.pass_of(row.digest, week, since=known.since),
            *(sessions._proof_of_configured(told, week) for told in (row.digest, known.digest, known.anchor)),
        ):
            thief.cookies = {"jobrunner_8900": f"{week}.{row.id}.{proof}"}
            assert_problem(thief.get("/api/v1/keys"), 401, "key_needed")


def test_a_session_opens_every_node_and_cannot_be_prolonged(api: Api, admin: TestClient) -> None:
    told = made(admin, "read")
    browser, elsewhere = (api.client(api_key=KEY, **FAR) for _ in range(2))
    browser.post("/login", data={"key": told["key"]})
    name, value = next(iter(browser.cookies.items()))
    week, owner, proof = value.split(".")
    for cookie, opens in (
        (value, True),
        (f"{int(week) - 1}.{owner}.{hashlib.sha256(bytes.fromhex(proof)).hexdigest()}", True),
        (f"{int(week) + 1}.{owner}.{proof}", False),
        (f"{week}.{owner}.{proof[:-1]}", False),
    ):
        elsewhere.cookies = {name: cookie}
        assert (elsewhere.get("/api/v1/tasks").status_code == 200) == opens, cookie


def test_a_key_of_which_a_digest_alone_is_kept_begins_no_session() -> None:
    text = key.make()[1]
    assert str(key.Kept.of(str(key.kept(text, 7)))) == str(key.kept(text, 7))
    assert key.kept(text, 7).fits(key.pass_of(text, 8, since=7), 8)
    for week, since in ((7, 7), (8 + key.CHAIN, 7)):
        assert not key.kept(text, since).fits(key.pass_of(text, week, since=since), week)
    assert not key.Kept.of(key.digest(text)).fits(key.pass_of(text, 8, since=0), 8)


def test_every_change_is_audited_and_what_was_refused_is_not(admin: TestClient) -> None:
    told = made(admin, "read")
    execute(admin, task_id="one")
    admin.post("/api/v1/tasks/one/cancel", json={"reason": "not today"})
    assert_problem(admin.post("/api/v1/tasks/none/cancel", json={}), 404, "task_not_found")
    admin.delete(f"/api/v1/keys/{told['id']}")
    changes = admin.get("/api/v1/audit").json()["changes"]
    assert [(one["action"], one["target"]) for one in changes] == [
        ("DELETE /api/v1/keys/{key_id}", told["id"]),
        ("POST /api/v1/tasks/{task_id}/cancel", "one"),
        ("POST /api/v1/keys", told["id"]),
    ]
    assert {one["actor"] for one in changes} == {"the configured key"}
    assert changes[1]["details"]["reason"] == "not today"
    assert admin.get("/api/v1/tasks/one").json()["submitted_by"] == "the configured key"
    page = admin.get("/api/v1/audit?limit=2").json()
    rest = admin.get(f"/api/v1/audit?limit=2&cursor={page['next_cursor']}").json()
    assert [*page["changes"], *rest["changes"]] == changes


def test_the_audit_names_what_was_made(api: Api, admin: TestClient) -> None:
    old = made(admin, "submit", queues=["a"], rate=3, expires_in=60)
    turn = f"/api/v1/keys/{old['id']}/rotate"
    lost, new = (admin.post(turn, json={"overlap": 5}).json() for _ in range(2))
    begun = admin.post("/api/v1/operations", json={"action": "cancel", "filter": {"queue": "a"}}).json()
    ids = [f"t{number}" for number in range(101)]
    named = admin.post("/api/v1/operations", json={"action": "retry", "ids": ids, "dry_run": True}).json()
    execute(admin, queue="a", task_id="one")
    purged = admin.post("/api/v1/queues/a/purge", json={}).json()
    changes = admin.get("/api/v1/audit").json()["changes"]
    assert all(one["details"].pop("request_id") for one in changes)
    until = old["expires_at"]
    purge, by_ids, by_filter, again, first, make = [(one["target"], one["details"]) for one in changes]
    limits = {"name": "test", "scopes": ["submit"], "queues": ["a"], "rate": 3.0, "expires_at": until}
    assert make == (old["id"], limits)
    assert first == (old["id"], {"overlap": 5.0, "successor": lost["id"], "expires_at": until, "ended": []})
    assert again == (old["id"], {"overlap": 5.0, "successor": new["id"], "expires_at": until, "ended": [lost["id"]]})
    assert by_filter == (begun["id"], {"action": "cancel", "dry_run": False, "filter": {"queue": "a"}})
    assert by_ids == (named["id"], {"action": "retry", "dry_run": True, "ids": ids[:100], "of": 101})
    waiting = {"queue": "a", "statuses": ["pending"]}
    assert purge == ("a", {"action": "cancel", "dry_run": False, "filter": waiting, "operation": purged["id"]})


def test_the_wire_of_submissions_takes_no_name_of_another(admin: TestClient) -> None:
    assert_problem(admin.post(EXECUTE, json={"task_type": "work", "submitted_by": "somebody"}), 422, "invalid_input")
