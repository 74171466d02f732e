"""An error tells what went wrong, with what, and what to do about it; never a traceback, never a secret."""

from __future__ import annotations

import os
import shutil
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from jobrunner.cli.exits import Exit
from jobrunner.cli.look import _TASK
from jobrunner.db.lock import FileLock
from jobrunner.errors import DatabaseLocked
from tests.certificates import self_signed
from tests.cli.conftest import Jr
from tests.cli.scripted import scripted
from tests.processes import free_port


class _Stranger(BaseHTTPRequestHandler):
    """A server that is no jobrunner."""

    def do_GET(self) -> None:
        body = b"<html>hello</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing into the test's output."""


@pytest.fixture
def stranger() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("words", "named", "mend"),
    [
        (["status", "nobody"], "'nobody'", "jobrunner list"),
        (["schedules", "pause", "nobody"], "'nobody'", "jobrunner schedules list"),
        (["queues", "resume", "nobody"], "'nobody'", "jobrunner queues list"),
        (["nodes", "drain", "nobody"], "'nobody'", "jobrunner nodes --all"),
        (["keys", "revoke", "nobody"], "'nobody'", "jobrunner keys list"),
        (["operations", "abort", "nobody"], "'nobody'", "jobrunner operations list"),
    ],
)
def test_what_is_not_there_says_where_to_look(
    jr: Jr, sqlite_url: str, words: list[str], named: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    told = jr(*words)
    assert (told.code, told.out) == (Exit.NOT_FOUND, "")
    assert named in told.err
    assert mend in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("cancel", "one", "--url", ""), "--url"),
        (("list", "--database-url", ""), "--database-url"),
        (("health", "live", "--url="), "--url"),
        (("db", "current", "--database-url", ""), "--database-url"),
        (("worker", "--database-url", ""), "--database-url"),
    ],
)
def test_an_address_that_is_empty_is_no_other_one(jr: Jr, words: tuple[str, ...], named: str) -> None:
    told = jr(*words)
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert f"{named} is empty" in told.err


def test_a_choice_that_is_none_is_told_plainly(jr: Jr) -> None:
    told = jr("list", "--status", "odd")
    assert told.code == Exit.USAGE
    assert "'--status': 'odd' is not one of 'pending', " in told.err


def test_a_type_that_nobody_knows(jr: Jr, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    told = jr("submit", "ad")
    assert told.code == Exit.USAGE
    assert "jobrunner types" in told.err


def test_a_server_that_is_no_jobrunner(jr: Jr, stranger: str) -> None:
    told = jr("status", "--url", stranger)
    assert (told.code, told.out) == (Exit.UNREACHABLE, "")
    assert stranger in told.err
    assert "not jobrunner's" in told.err
    assert jr("health", "live", "--url", stranger).code == Exit.UNREACHABLE


@pytest.mark.parametrize("said", [["a", "list"], {"status": 404, "title": "no"}, {"hello": "world"}, "ok", None])
def test_a_server_that_speaks_json_of_its_own(jr: Jr, said: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted((200, said)) as server:
        for probe in ("live", "ready"):
            told = jr("health", probe, "--url", server.url)
            assert (told.code, told.out) == (Exit.UNREACHABLE, "")
            assert f"no jobrunner answers at {server.url} (something else does)" in told.err
        monkeypatch.setenv("JOBRUNNER_PORT", server.url.rpartition(":")[2])
        told = jr("doctor", "--url", server.url, "--json")
    assert told.code == Exit.TASK_FAILED
    levels = {one["check"]: one["level"] for one in told.json["findings"]}
    assert (levels["port"], levels["fleet"]) == ("fail", "fail")


@pytest.mark.parametrize("words", [("list", "--jsonl"), ("list", "--json"), ("list",)])
def test_a_reader_that_had_enough_is_no_error(jr: Jr, words: tuple[str, ...]) -> None:
    tasks = [dict.fromkeys(_TASK, "x" * 100) for _ in range(200)]
    ours, theirs = os.pipe()
    os.close(ours)
    with (
        open(theirs, "w") as broken,
        scripted((200, {"tasks": tasks, "next_cursor": None})) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("sys.stdout", broken)
        told = jr(*words, "--url", server.url)
    assert (told.code, told.err) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ("nodes", "--url", "http://127.0.0.1:1", "drain", "x"),
        ("nodes", "--all", "list"),
        ("errors", "--database-url", "sqlite:///x", "show", "x"),
    ],
)
def test_an_option_in_front_of_a_command_is_not_lost(jr: Jr, words: tuple[str, ...]) -> None:
    told = jr(*words)
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert "behind the command" in told.err


def test_a_url_that_is_none(jr: Jr) -> None:
    for url in ("http://[", "http://127.0.0.1:notaport", "ftp://somewhere"):
        told = jr("status", "--url", url)
        assert told.code in (Exit.UNREACHABLE, Exit.USAGE), url
        assert told.err.startswith("jobrunner: ")
        assert "internal error" not in told.err


def test_a_file_that_another_process_holds(jr: Jr, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_DATABASE_URL", sqlite_url)
    monkeypatch.setattr("jobrunner.client.local.PATIENCE", 0.1)
    held = FileLock(Path(sqlite_url.removeprefix("sqlite:///")))
    held.take()
    try:
        told = jr("status")
    finally:
        held.drop()
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert "is in use by another part of this program" in told.err
    other = DatabaseLocked("jobrunner.db", {"pid": os.getpid()})  # in another container, whose numbers are its own
    assert f"is in use by process {os.getpid()}. " in str(other)
    assert "JOBRUNNER_DATABASE_URL" in str(other)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made with openssl, which is not here")
def test_a_certificate_that_nobody_vouches_for(jr: Jr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, chain = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain, key)
    with scripted((200, {"tasks": [], "next_cursor": None}), tls=tls) as server:
        told = jr("list", "--url", server.url)
        assert told.code == Exit.UNREACHABLE
        assert "is not trusted here: self-signed certificate" in told.err
        assert "SSL_CERT_FILE" in told.err
        assert "jobrunner up" not in told.err
        monkeypatch.setenv("JOBRUNNER_PORT", str(free_port()))
        [fleet] = [
            one for one in jr("doctor", "--url", server.url, "--json").json["findings"] if one["level"] == "fail"
        ]
        assert (fleet["check"], "SSL_CERT_FILE" in fleet["fix"]) == ("fleet", True)
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        assert jr("list", "--url", server.url).code == 0
