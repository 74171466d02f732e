"""Clients who send drop by drop, or nothing, or read nothing: each is cut, and nobody else waits for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2
import pytest

from jobrunner.api import create_app
from jobrunner.db.engine import open_database
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from jobrunner.runtime import protocol, server
from tests.api.conftest import Api
from tests.api.serving import serving

HEAD = b"POST /api/v1/task/execute HTTP/1.1\r\nHost: localhost\r\n"
UPGRADE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
SECONDS = 0.6


@pytest.fixture
def api(sqlite_url: str) -> Iterator[Api]:
    """The server's patience asks no database, so one kind will do."""
    opened = open_database(sqlite_url)
    yield Api(opened)
    opened.dispose()


@pytest.fixture
def url(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", SECONDS)
    monkeypatch.setattr(protocol, "BODY_SECONDS", SECONDS)
    with serving(create_app(api.service())) as found:
        yield found


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname or "", place.port or 80), timeout=10)


def until_cut(line: socket.socket, drops: bytes) -> tuple[bytes, float]:
    """What is answered, and after how many seconds the server hung up; a drop is sent each twentieth second."""
    began, heard = time.monotonic(), b""
    line.settimeout(0.05)
    coming = iter(drops)
    while time.monotonic() - began < 10:
        with suppress(OSError):
            line.sendall(bytes([next(coming, 120)]) if drops else b"")
        try:
            part = line.recv(65_536)
        except TimeoutError:
            continue
        except OSError:
            break
        if not part:
            break
        heard += part
    return heard, time.monotonic() - began


@pytest.mark.parametrize(
    ("begin", "drops", "answer"),
    [
        (b"", b"", b""),
        (b"GET /healthz HTT", b"", b"408"),
        (b"GET / HTTP/1.1\r\nX-Drop: ", b"x" * 1_000, b"408"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x" * 1_000, b"415"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1_000, b"415"),
        (UPGRADE + b"GET / HTTP/1.1\r\nX-Drop: ", b"x" * 1_000, b"408"),
        (UPGRADE + HEAD + b"Content-Length: 1000\r\n\r\n", b"x" * 1_000, b"415"),
    ],
    ids=["silent", "half a head", "head", "body", "chunks", "head behind an upgrade", "body behind an upgrade"],
)
def test_who_is_too_slow_is_cut(url: str, begin: bytes, drops: bytes, answer: bytes) -> None:
    with connected(url) as line:
        line.sendall(begin)
        heard, took = until_cut(line, drops)
    assert answer in heard, heard
    assert SECONDS * 0.5 < took < SECONDS + 4


def test_a_second_request_on_the_line_may_come_later_and_a_long_answer_is_waited_for(url: str, api: Api) -> None:
    with api.database.begin() as conn:
        store.enqueue(conn, new_task("work", task_id="long"))
    with httpx2.Client(base_url=url) as client:
        began = time.monotonic()
        assert client.get(f"/api/v1/tasks/long?wait={SECONDS * 2.5}").json()["status"] == "pending"
        assert time.monotonic() - began > SECONDS * 2
        time.sleep(SECONDS * 1.5)
        assert client.get("/healthz").status_code == 200


@pytest.mark.ci
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux cuts who reads nothing")
def test_who_reads_nothing_is_cut(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_SECONDS", 1.0)
    with api.database.begin() as conn:
        store.enqueue(conn, new_task("work", {"text": "x" * 200_000}, task_id="large"))
    asked = b"GET /api/v1/tasks/large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
    with serving(create_app(api.service())) as url, socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        place = urlsplit(url)
        line.connect((place.hostname, place.port))
        line.settimeout(10)
        began = time.monotonic()
        with pytest.raises(OSError, match="reset"):  # a reset comes through although nothing is read
            while time.monotonic() - began < 10:
                line.sendall(asked)
                time.sleep(0.1)
        assert httpx2.get(f"{url}/healthz").status_code == 200
