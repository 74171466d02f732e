"""The loopback is asked itself, whatever proxy the environment names: no key of this machine goes to another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobrunner.client import Client
from jobrunner.client.checkup_here import probe
from jobrunner.client.errors import Unreachable
from jobrunner.client.remote import Remote
from tests.cli.scripted import Scripted, scripted

DONE = (200, {"status": "ok", "task_id": "one"})


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """A proxy for everything, that takes what it is given."""
    with scripted((502, {"detail": "the proxy"})) as spy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, spy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield spy


def test_this_machine_is_asked_itself(proxy: Scripted) -> None:
    with scripted(DONE) as server:
        port = server.url.rpartition(":")[2]
        for url in (server.url, f"http://localhost:{port}", f"localhost:{port}"):
            with Remote(url, "a-secret-key") as desk:
                assert desk.task("one") == DONE[1]
        assert probe(server.url, "/healthz").json() == DONE[1]
    assert len(server.asked) == 4
    assert proxy.asked == []


def test_others_are_asked_by_way_of_it(proxy: Scripted) -> None:
    with Client("http://nowhere.invalid:8900", patience=0) as client, pytest.raises(Exception, match="the proxy"):
        client.task("one")
    assert proxy.asked == [("GET http://nowhere.invalid:8900/api/v1/tasks/one", None)]
    with pytest.raises(Unreachable), Remote("http://127.0.0.1:1") as desk:
        desk.task("one")
    assert len(proxy.asked) == 1
