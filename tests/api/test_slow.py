"""Bodies that come too slowly or are announced too large, and clients who say nothing, over a bare socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2
import pytest

from jobrunner.api import bodies, create_app
from jobrunner.db.engine import Database
from jobrunner.runtime import protocol
from tests.api.asking import stored
from tests.api.conftest import Api
from tests.api.serving import serving

HEAD = b"POST /api/v1/task/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with serving(create_app(api.service())) as found:
        yield found


def first_line(url: str, sent: bytes, within: float = 15.0) -> bytes:
    """The status line that answers ``sent``."""
    place = urlsplit(url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 80), timeout=within) as line:
        line.sendall(sent)
        return line.recv(4_096).partition(b"\r\n")[0]


def test_a_body_that_never_comes_is_not_waited_for(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    began = time.monotonic()
    assert b"408" in first_line(url, HEAD + b'Content-Length: 100\r\n\r\n{"task_')
    assert time.monotonic() - began < 10
    assert stored(database) == 0


def test_a_body_announced_too_large_is_refused_before_it_comes(url: str, database: Database) -> None:
    assert b"413" in first_line(url, HEAD + b"Content-Length: 1048577\r\n\r\n")
    assert stored(database) == 0


def test_a_client_that_leaves_halfway_stores_nothing(
    url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    place = urlsplit(url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 80)) as line:
        line.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"task_')
    time.sleep(0.3)
    assert stored(database) == 0
    assert "request failed" not in caplog.text


def talk(url: str, pieces: Iterator[bytes]) -> tuple[bytes, int]:
    """What is answered, and how many bytes were sent before the server hung up."""
    place = urlsplit(url)
    assert place.hostname is not None
    sent = 0
    with socket.create_connection((place.hostname, place.port or 80), timeout=5) as line:
        with suppress(OSError):
            for piece in pieces:
                line.sendall(piece)
                sent += len(piece)
        heard = b""
        with suppress(OSError):
            while part := line.recv(65_536):
                heard += part
    return heard, sent


MANY = 200  # pieces of 64 KiB


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /" + b"a" * 100,
        b"GET / HTTP/1.1\r\nX-Long: ",
        b"GET / HTTP/1.1\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX-Trailer: ",
    ],
    ids=["path", "header", "headers", "trailer"],
)
def test_a_head_without_end_is_not_kept(url: str, database: Database, begin: bytes) -> None:
    piece = b"X-One: 0123456789\r\n" * 3_449 if begin.endswith(b"1.1\r\n") else b"a" * 65_536
    heard, sent = talk(url, iter([begin, *[piece] * MANY]))
    assert sent < MANY / 2 * len(piece), "the server went on reading"
    assert heard[:12] in (b"HTTP/1.1 400", b""), "the kernel may drop an answer whose reader is still sending"
    assert stored(database) == 0


def test_a_body_may_come_in_many_pieces_behind_a_full_head(url: str, database: Database) -> None:
    body = b'{"task_type": "work", "task_data": {"text": "%s"}}' % (b"x" * 200_000)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 99]), body[at : at + 99]) for at in range(0, len(body), 99))
    filler = b"X-Filler: " + b"f" * 60_000 + b"\r\n"
    heard, _ = talk(
        url, iter([HEAD + filler + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + b"0\r\n\r\n"])
    )
    assert heard.startswith(b"HTTP/1.1 202")
    assert stored(database) == 1


@pytest.mark.parametrize("wish", [b"h2c", b"websocket"])
def test_a_wish_for_another_protocol_is_passed_over(url: str, database: Database, wish: bytes) -> None:
    body = b'{"task_type": "work"}'
    upgrade = b"Connection: Upgrade\r\nUpgrade: %s\r\n" % wish
    one = HEAD + b"%bContent-Length: %d\r\n\r\n%b" % (upgrade, len(body), body)
    last = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    heard, _ = talk(url, iter([one, last]))
    assert heard.count(b"HTTP/1.1 202") == 2


def test_connections_that_say_nothing_leave_files_for_the_rest(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one too many is closed at once, and there is room again when another goes."""
    monkeypatch.setattr(protocol, "_connections_most", lambda: 3)
    place = urlsplit(url)
    silent = [socket.create_connection((place.hostname or "", place.port or 80), timeout=5) for _ in range(3)]
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{url}/healthz")
    silent.pop().close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(httpx2.TransportError):
            assert httpx2.get(f"{url}/healthz").status_code == 200
            break
    else:
        pytest.fail("nobody is heard any more")
    for one in silent:
        one.close()
