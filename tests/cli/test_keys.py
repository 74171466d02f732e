"""Keys by command, at the database and over REST, and the audit of what commands change."""

from __future__ import annotations

import json
import time

import pytest

from jobrunner.cli.exits import Exit
from jobrunner.queue.key import KEY
from tests.cli.conftest import Jr
from tests.processes import Processes, free_port


def test_a_keys_life_at_the_database(at: Jr) -> None:
    told = at("keys", "create", "night", "--scope", "read", "--scope", "submit", "--queue", "q", "--expires", "90d")
    assert told.code == 0
    assert KEY.fullmatch(told.out.removesuffix("\n")), "the key alone"
    key_id = told.out.split("_")[1]
    assert told.out.strip() not in told.err
    (listed,) = at("keys", "list", "--json").json["keys"]
    assert (listed["id"], listed["name"], listed["scopes"], listed["queues"]) == (
        key_id,
        "night",
        ["read", "submit"],
        ["q"],
    )
    assert listed["usable"]
    (row,) = at("keys", "list").rows
    assert (row["scopes"], row["queues"]) == ("read,submit", "q")
    assert listed["expires_at"] > listed["created_at"]
    assert told.out.strip() not in at("keys", "list").out + at("keys", "list", "--json").out
    told = at("keys", "rotate", key_id, "--overlap", "1h", "--json")
    assert (told.json["replaces"], told.json["scopes"]) == (key_id, ["read", "submit"])
    assert KEY.fullmatch(told.json["key"])
    assert at("keys", "revoke", key_id, "--dry-run").out == f"key {key_id} (night) may read, submit; never used\n"
    assert at("keys", "revoke", "nobody", "--dry-run").code == 3
    assert at("keys", "revoke", key_id).out == f"key {key_id} is revoked\n"
    assert at("keys", "revoke", key_id, "--dry-run").out.endswith("it has ended already\n")
    assert at("keys", "revoke", key_id, "--dry-run", "--json").json["would_revoke"] is False
    assert {row["id"]: row["usable"] for row in at("keys", "list").rows} == {key_id: "no", told.json["id"]: "yes"}
    for words in (["rotate", key_id], ["rotate", "nobody"], ["revoke", "nobody"]):
        told = at("keys", *words)
        assert told.code == Exit.NOT_FOUND
        assert words[1] in told.err


def test_keys_that_make_no_sense(at: Jr) -> None:
    for words, named in (
        ([], "--scope"),
        (["--scope", "all"], "all"),
        (["--scope", "admin", "--queue", "q"], "/queues"),
        (["--scope", "read", "--expires", "0"], "/expires_in"),
        (["--scope", "read", "--rate", "0"], "/rate"),
    ):
        told = at("keys", "create", "odd", *words)
        assert (told.code, told.out) == (Exit.USAGE, ""), words
        assert named in told.err
    assert at("keys", "list", "--json").json == {"keys": []}


def test_what_commands_change_is_audited(at: Jr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_ALLOW_UNKNOWN_TYPES", "1")
    assert at("submit", "add", "--task-id", "a").code == 0
    assert at("cancel", "a", "--reason", "late").code == 0
    assert at("cancel", "nobody").code == Exit.NOT_FOUND
    assert at("retry", "a").code == 0
    made = at("keys", "create", "k", "--scope", "read", "--json").json
    changes = at("audit", "--json").json["changes"]
    assert [(one["action"], one["target"]) for one in changes] == [
        ("POST /api/v1/keys", made["id"]),
        ("POST /api/v1/tasks/{task_id}/retry", "a"),
        ("POST /api/v1/tasks/{task_id}/cancel", "a"),
    ]
    assert changes[2]["details"] == {"reason": "late"}
    limits = {name: made[name] for name in ("name", "scopes", "queues", "rate", "expires_at")}
    assert changes[0]["details"] == limits
    assert all("at the database" in one["actor"] for one in changes)
    first = at("audit", "--limit", "2", "--json").json
    rest = at("audit", "--limit", "2", "--cursor", first["next_cursor"]).rows
    assert [row["target"] for row in rest] == ["a"]
    assert at("audit", "--cursor", "x").code == Exit.USAGE


def test_the_first_key_is_made_at_the_database_and_the_rest_over_rest(
    jr: Jr, postgres_url: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", postgres_url)
    monkeypatch.setenv("JOBRUNNER_API_KEY", jr("keys", "create", "root", "--scope", "admin").out.strip())
    port = free_port()
    env = {"JOBRUNNER_DATABASE_URL": postgres_url}
    server = processes.start("api", "--port", str(port), env=env, port=port)
    server.wait_healthy()
    there = ("--url", server.url)
    made = jr("keys", "create", "reader", "--scope", "read", "--json", *there)
    assert made.code == 0, made.err
    assert jr("keys", "list", "--json", *there).json.keys() == jr("keys", "list", "--json").json.keys()
    assert [one["name"] for one in jr("keys", "list", "--json", *there).json["keys"]] == ["reader", "root"]
    assert jr("audit", "--json", *there).json == jr("audit", "--json").json
    turned = jr("keys", "rotate", made.json["id"], "--overlap", "0", *there)
    assert KEY.fullmatch(turned.out.strip())
    monkeypatch.setenv("JOBRUNNER_API_KEY", turned.out.strip())
    deadline = time.monotonic() + 10
    while jr("list", *there).code != 0:  # a server knows keys of two seconds ago
        assert time.monotonic() < deadline
        time.sleep(0.2)
    told = jr("keys", "list", *there)
    assert (told.code, told.out) == (Exit.NOT_PERMITTED, "")
    assert json.dumps(told.err).count("admin") == 1
    assert jr("keys", "revoke", made.json["id"]).code == 0
