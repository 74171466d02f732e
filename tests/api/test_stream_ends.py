"""A stream ends with what it was opened by: a key, or a session that one began."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from jobrunner.api import create_app, keyring
from jobrunner.api.routes import events
from jobrunner.db.engine import open_database
from jobrunner.queue import store
from tests.api.conftest import KEY, Api
from tests.api.serving import serving
from tests.api.streams import EVENTS, streaming
from tests.both_databases.moves import add


@pytest.fixture
def sqlite_api(sqlite_url: str) -> Iterator[Api]:
    """Both databases tell of keys alike: one kind will do."""
    opened = open_database(sqlite_url)
    yield Api(opened)
    opened.dispose()


def test_a_stream_ends_with_the_key_that_opened_it(sqlite_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.1)
    monkeypatch.setattr(events, "ASK_EVERY", 0.1)
    database = sqlite_api.database
    with database.begin() as conn:
        ends, stays = (store.issue_key(conn, name, ["read"]) for name in ("ends", "stays"))
    add(database, task_id="t")
    service = sqlite_api.service(api_key=KEY, allow_from=["127.0.0.0/8"])  # which lets nobody stay as somebody else
    with serving(create_app(service)) as url, ExitStack() as streams:
        login = httpx2.post(f"{url}/login", data={"key": ends.text})
        cookie = login.headers["set-cookie"].partition(";")[0]
        opened = [
            streams.enter_context(streaming(sqlite_api, url, path, **headers))
            for path in (EVENTS, "/api/v1/tasks/t/events")
            for headers in ({"x_api_key": ends.text}, {"cookie": cookie}, {"x_api_key": stays.text})
        ]
        for stream in opened:
            stream.wait_for(1)
        with database.begin() as conn:
            store.revoke_key(conn, ends.id)
        assert [stream.ended.wait(15) for stream in opened if stays.text not in str(stream._given)] == [True] * 4
        assert [stream.ended.is_set() for stream in opened].count(False) == 2
