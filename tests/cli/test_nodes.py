"""Nodes that are tried and those that are forgotten, by command."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, update

from jobrunner.cli.exits import Exit
from jobrunner.db.engine import Database, open_database
from jobrunner.db.tables import nodes
from jobrunner.db.types import db_now
from jobrunner.node.state import Identity, State
from jobrunner.queue import store
from tests.certificates import self_signed
from tests.cli.conftest import Jr, Said
from tests.cli.scripted import scripted
from tests.processes import Processes, free_port


def _levels(told: Said) -> dict[str, str]:
    return {one["check"]: one["level"] for one in told.json["findings"]}


def _detail(told: Said, check: str) -> str:
    return next(f"{one['detail']} {one['fix']}" for one in told.json["findings"] if one["check"] == check)


def _identity(name: str, address: str | None = None, types: tuple[str, ...] = ("add",)) -> Identity:
    return Identity(name, slots=2, types=types, queues=None, address=address, heartbeat_interval=60.0)


def _register(database: Database, name: str, *, address: str | None = None, types: tuple[str, ...] = ("add",)) -> str:
    identity = _identity(name, address, types)
    with database.begin() as conn:
        store.register(conn, {**identity.columns(), **State().columns()})
    return identity.id


def test_a_node_is_tried_from_here(at: Jr, database_url: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        closed = taken.getsockname()[1]
    database = open_database(database_url)
    plain = _register(database, "plain")
    deaf = _register(database, "deaf", address=f"http://127.0.0.1:{closed}", types=())
    away = _register(database, "away", address="http://127.0.0.1:1")
    names = ("drained", "held", "partly", "stuck", "full", "ended", "silent")
    drained, held, partly, stuck, full, ended, silent = (_register(database, name) for name in names)
    with database.begin() as conn:
        for node_id, values in (
            (away, {"host": "localhost"}),
            (drained, {"state": "draining"}),
            (held, {"drain_requested_at": db_now()}),
            (partly, {"stuck": 1}),
            (stuck, {"state": "stuck", "stuck": 2}),
            (full, {"state": "overloaded", "reason": "memory"}),
            (silent, {"heartbeat_at": db_now(-1_000.0)}),
        ):
            conn.execute(update(nodes).where(nodes.c.id == node_id).values(**values))
        store.stopped(conn, ended, "its time was over")
    database.dispose()

    told = at("nodes", "test", "plain", "--json")
    assert (told.code, told.json["ok"], set(_levels(told).values())) == (0, True, {"ok"})
    assert "no port" in _detail(told, "address")
    assert {row["level"] for row in at("nodes", "test", plain).rows} == {"ok"}
    told = at("nodes", "test", deaf, "--json")
    assert (told.code, _levels(told)["task types"], _levels(told)["address"]) == (Exit.TASK_FAILED, "fail", "warn")
    assert f"127.0.0.1:{closed}" in _detail(told, "address")
    told = at("nodes", "test", away, "--json")
    assert (told.code, _levels(told)["address"]) == (0, "warn"), "its tasks come by the database"
    assert "http://localhost:1" in _detail(told, "address"), "its loopback is not this machine's"
    for node_id, check, level, named in (
        (drained, "state", "fail", f"jobrunner nodes resume {drained}"),
        (held, "state", "fail", f"jobrunner nodes resume {held}"),
        (partly, "state", "warn", "1 of 2 slots are taken by functions that ignore their time-out"),
        (stuck, "state", "fail", "2 of 2 slots"),
        (full, "state", "warn", "overloaded: memory"),
        (ended, "heartbeat", "fail", "its time was over"),
        (silent, "heartbeat", "fail", "fell silent"),
    ):
        told = at("nodes", "test", node_id, "--json")
        assert (told.code, _levels(told)[check]) == (Exit.TASK_FAILED if level == "fail" else 0, level), named
        assert named in _detail(told, check)
        assert check == "state" or set(_levels(told)) == {"heartbeat"}, "of who is gone there is nothing more to say"
    assert at("nodes", "test", "nobody").code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"hello": "world"}, "what answers at {url} is no jobrunner"),
        ({"status": "ok"}, "who answers at {url} does not say which node he is"),
        ({"status": "ok", "is_node": False}, "another jobrunner answers at {url}"),
    ],
)
def test_who_answers_in_its_place_is_told(
    jr: Jr, sqlite_url: str, said: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    with scripted((200, said)) as other:
        database = open_database(sqlite_url)
        _register(database, "one", address=other.url)
        database.dispose()
        found = jr("nodes", "test", "one", "--json")
    assert told.format(url=other.url) in _detail(found, "address")
    assert (found.code, _levels(found)["address"]) == (0, "warn")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made with openssl, which is not here")
def test_who_is_not_trusted_is_not_believed(
    jr: Jr, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    key, chain = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain, key)
    with scripted((200, {"status": "ok", "is_node": True}), tls=tls) as place:
        database = open_database(sqlite_url)
        node_id = _register(database, "one", address=place.url)
        _register(database, "other", address=place.url.replace("127.0.0.1", "localhost"))
        database.dispose()
        found = jr("nodes", "test", "one", "--json")
        assert "is not trusted here" in _detail(found, "address")
        assert "SSL_CERT_FILE" in _detail(found, "address")
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        found = jr("nodes", "test", "one", "--json")
        assert f"it answers at {place.url}" in _detail(found, "address")
        assert place.asked[-1][0] == f"GET /healthz?node={node_id}"
        found = jr("nodes", "test", "other", "--json")
        assert "a certificate that holds now, for this name or address" in _detail(found, "address")


def test_an_id_is_meant_before_a_name(at: Jr, database_url: str) -> None:
    database = open_database(database_url)
    one = _register(database, "one")
    other = _register(database, one)
    database.dispose()
    assert at("nodes", "show", one, "--json").json["name"] == "one"
    assert at("nodes", "show", other, "--json").json["name"] == one


def test_a_key_that_may_only_operate_names_a_node_by_its_id(jr: Jr) -> None:
    forbidden = {"code": "forbidden", "title": "Forbidden", "status": 403, "detail": "this key may not look"}
    with scripted((403, forbidden), (204, None)) as server:
        assert jr("nodes", "remove", "the-id", "--url", server.url).code == 0
        assert [call for call, _ in server.asked] == ["GET /api/v1/nodes", "DELETE /api/v1/nodes/the-id"]


def test_of_more_nodes_than_a_list_has_each_is_found_by_its_id(
    jr: Jr, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    monkeypatch.setattr("jobrunner.queue.views.nodes.MOST", 1)
    database = open_database(sqlite_url)
    with database.begin() as conn:
        for number in range(2):
            store.register(conn, {**_identity(str(number)).columns(), **State().columns()})
            store.stopped(conn, conn.execute(select(nodes.c.id).where(nodes.c.name == str(number))).scalar_one(), "")
        known = [*conn.execute(select(nodes.c.id)).scalars()]
    database.dispose()
    for node_id in known:
        assert jr("nodes", "remove", node_id).code == 0


def test_of_one_name_the_one_that_is_gone_is_removed(at: Jr, database_url: str) -> None:
    database = open_database(database_url)
    gone, lives = _register(database, "Worker-1"), _register(database, "Worker-1")
    with database.begin() as conn:
        store.stopped(conn, gone, "it was started again")
    database.dispose()
    told = at("nodes", "remove", lives)
    assert (told.code, told.out) == (Exit.CONFLICT, "")
    assert "is alive" in told.err
    told = at("nodes", "remove", "Worker-1", "--dry-run")
    assert told.out.startswith(f"node Worker-1 ({gone}) was last heard of at 2")
    told = at("nodes", "remove", gone, "--dry-run", "--json")
    assert told.json == {"id": gone, "removed": False, "would_remove": True}
    assert at("nodes", "remove", lives, "--dry-run").code == Exit.CONFLICT, "as without"
    assert at("nodes", "remove", "Worker-1", "--json").json == {"id": gone, "removed": True}
    assert at("nodes", "--all", "--quiet").out.split() == [lives]
    told = at("nodes", "remove", gone)
    assert (told.code, told.out) == (Exit.NOT_FOUND, "")
    assert at("nodes", "remove", "Worker-1").code == Exit.CONFLICT, "only the living one is left"
    [change] = at("audit", "--json").json["changes"]
    assert (change["action"], change["target"]) == ("DELETE /api/v1/nodes/{node_id}", gone)


@pytest.mark.ci
def test_a_real_one_over_rest(
    jr: Jr, postgres_url: str, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"JOBRUNNER_DATABASE_URL": postgres_url, "JOBRUNNER_HEARTBEAT_INTERVAL": "1"}
    words = ("--handlers", chores, "--queues", "default")
    one, two = (free_port() for _ in range(2))
    first = processes.start("worker", "--node-name", "one", "--port", str(one), *words, env=env, port=one)
    second = processes.start("worker", "--node-name", "two", "--port", str(two), *words, env=env, port=two)
    for worker in (first, second):
        worker.wait_healthy()
    monkeypatch.setenv("JOBRUNNER_URL", first.url)
    told = jr("nodes", "test", "two", "--json")
    assert (told.code, set(_levels(told).values())) == (0, {"ok"}), told.out
    assert f"it answers at {second.url}" in _detail(told, "address")
    (node_id,) = (node["id"] for node in jr("nodes", "--json").json["nodes"] if node["name"] == "two")
    assert jr("nodes", "remove", "two").code == Exit.CONFLICT

    second.signal(signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while jr("nodes", "remove", "two").code == Exit.CONFLICT:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert [node["name"] for node in jr("nodes", "--all", "--json").json["nodes"]] == ["one"]
    second.signal(signal.SIGCONT)
    while [node["name"] for node in jr("nodes", "--json").json["nodes"]] != ["one", "two"]:
        assert time.monotonic() < deadline, "who was only silent adds himself again"
        time.sleep(0.2)
    assert jr("nodes", "test", node_id).code == 0
    assert jr("submit", "add", "x:=1", "--wait").code == 0
