"""A real Chromium on the real page. Without one these tests fail in CI, and say elsewhere that they did not run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from jobrunner.api import create_app
from jobrunner.db.engine import Database, open_database
from jobrunner.handlers import registry
from jobrunner.handlers.declare import task
from tests.api.conftest import Api
from tests.api.serving import serving

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
WATCH_POLICY = "addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective))"


def chromium() -> str:
    """The browser's path; ends the test where there is none."""
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    if found is None:
        told = "no Chromium here: install Debian's package chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(told, pytrace=False)
        pytest.skip(told)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with the module: its event loop runs in this thread, and other tests want one of their own."""
    path = chromium()
    expect.set_options(timeout=20_000)  # milliseconds: two cores may be busy with other tests
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = open_database(sqlite_url)
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    with registry.isolated():

        @task("work")
        def work(**extra: Any) -> None: ...

        yield


@pytest.fixture
def api(database: Database) -> Api:
    return Api(database)


@dataclass
class Visit:
    """One reader: the page, and all that its console said."""

    page: Page
    context: BrowserContext
    said: list[str] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """What the console said against our policy or our scripts."""
        return [one for one in self.said if "CSP" in one or "Content Security Policy" in one or one.startswith("!")]


class Visits:
    """Opens pages for readers of any size, language and theme."""

    def __init__(self, browser: Browser, api: Api) -> None:
        self._browser = browser
        self._api = api
        self._contexts: list[BrowserContext] = []

    def open(self, url: str, *, width: int = 1280, language: str = "en-GB", dark: bool = False, **told: Any) -> Visit:
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            locale=language,
            timezone_id="Asia/Shanghai",
            color_scheme="dark" if dark else "light",
            **told,
        )
        self._contexts.append(context)
        context.add_init_script(WATCH_POLICY)
        visit = Visit(context.new_page(), context)
        visit.page.on("console", lambda message: visit.said.append(message.text))
        visit.page.on("pageerror", lambda error: visit.said.append(f"! {error}"))
        visit.page.goto(url)
        return visit

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def visits(browser: Browser, api: Api) -> Iterator[Visits]:
    opened = Visits(browser, api)
    yield opened
    opened.close()


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    """The application without a key, on this machine."""
    with serving(create_app(api.service())) as found:
        yield found
        api.asked.stopping = True
