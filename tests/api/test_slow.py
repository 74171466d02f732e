"""Bodies that come too slowly or are announced too large, over a bare socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from jobrunner.api import bodies, create_app
from jobrunner.db.engine import Database
from tests.api.asking import stored
from tests.api.conftest import Api
from tests.api.serving import serving

HEAD = b"POST /api/v1/task/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with serving(create_app(api.service())) as found:
        yield found


def first_line(url: str, sent: bytes, within: float = 5.0) -> bytes:
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
    assert time.monotonic() - began < 3
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
