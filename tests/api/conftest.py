"""The application over a real database, asked as its clients ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobrunner.api import NodeFacts, Service, create_app, keyring
from jobrunner.db.engine import Database, open_database
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from jobrunner.settings import Settings

KEY = "a-long-and-random-key"
FACTS = NodeFacts(
    node_id="0b5c",
    node_name="Worker-1",
    state="active",
    max_workers=4,
    running=1,
    completed=3,
    failed=1,
    busy_seconds=8.0,
    uptime_seconds=60.0,
    cpu_percent=12.5,
    memory_percent=40.0,
    disk_percent=70.0,
    cpu_count=2,
    memory_total=4 * 1024**3,
    types=("work", "sum"),
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with nothing in it."""
    opened = open_database(database_url, pool_size=6)
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _time_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "WITHIN", 20.0)  # a busy machine took more than the two seconds once


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    with registry.isolated():

        @task("work")
        def work(**extra: Any) -> None: ...

        @task("sum", queue="sums", priority=3, max_attempts=7, timeout=9)
        def add(a: int, b: int = 1) -> int:
            return a + b

        yield


@dataclass
class Asked:
    """What the application asked of its process."""

    woken: int = 0
    hinted: int = 0
    shut_down: int = 0
    stopping: bool = False
    facts: list[NodeFacts] = field(default_factory=lambda: [FACTS])


class Api:
    """Builds clients of applications with these settings."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.asked = Asked()

    def service(self, *, works: bool = True, **settings: Any) -> Service:
        asked = self.asked

        def wake() -> None:
            asked.woken += 1

        def hint() -> None:
            asked.hinted += 1

        def shutdown() -> None:
            asked.shut_down += 1

        return Service(
            Settings(**settings),
            self.database,
            node=(lambda: asked.facts[0]) if works else None,
            shutdown=shutdown if works else None,
            wake=wake,
            cancel_hint=hint,
            stopping=lambda: asked.stopping,
        )

    def client(
        self,
        *,
        address: str = "127.0.0.1",
        base_url: str = "http://localhost:8900",
        headers: dict[str, str] | None = None,
        works: bool = True,
        **settings: Any,
    ) -> TestClient:
        app = create_app(self.service(works=works, **settings))
        return TestClient(
            app,
            base_url=base_url,
            client=(address, 50_000),
            headers=headers,
            raise_server_exceptions=False,
            follow_redirects=False,
        )

    def admin(self, **told: Any) -> TestClient:
        """A client with the configured key: it comes in whatever keys are made, and however late that is noticed."""
        return self.client(api_key=KEY, headers={"x-api-key": KEY}, **told)


@pytest.fixture
def api(database: Database) -> Api:
    return Api(database)


@pytest.fixture
def client(api: Api) -> TestClient:
    """A client on this machine, where no key is set."""
    return api.client()
