"""The page as its readers meet it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from jobrunner.api import create_app
from jobrunner.background import schedules
from jobrunner.db.engine import Database
from jobrunner.queue import store
from jobrunner.queue.task import Ending, Outcome
from tests.api.conftest import KEY, Api
from tests.api.serving import serving
from tests.api.test_tasks import node
from tests.both_databases.moves import add, end, take
from tests.browser.conftest import Visits

pytestmark = pytest.mark.ci

SHOWN_WITHIN = 20_000  # milliseconds
EVIL = "<img src=x onerror=document.title='taken'>"


def fill(database: Database) -> None:
    """A bit of everything."""
    node(database, "Worker-1", running=2, cpu_percent=37.2, memory_percent=93.0)
    node(database, "Worker-2", state="draining")
    for number in range(4):
        add(database, task_id=f"t{number}" if number else EVIL, max_attempts=1)
    first, second, third, _ = take(database, 4, node="id-Worker-1")
    end(database, first)
    end(database, second, Outcome(Ending.ERROR, error=f"ValueError: {EVIL} " + "and so on " * 30))
    with database.begin() as conn:
        store.progress(conn, {third.lease: (0.42, "1,204 of 2,870")})
        schedules.save(conn, "nightly", cron="0 3 * * 1-5", timezone="Asia/Shanghai", task_type="work")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_the_page_keeps_the_policy_and_fits(
    visits: Visits, url: str, database: Database, width: int, language: str, dark: bool
) -> None:
    fill(database)
    visit = visits.open(url, width=width, language=language, dark=dark)
    page = visit.page
    expect(page.locator("#events")).to_have_class("stream", timeout=SHOWN_WITHIN)
    expect(page.locator("#running tbody tr")).to_have_count(2)
    expect(page.locator("#running progress").first).to_have_attribute("value", "0.42")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title().endswith("jobrunner")
    heading = "一切正常" if language == "zh-CN" else "All is well"
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    assert page.evaluate("document.documentElement.lang") == ("zh-CN" if language == "zh-CN" else "en")
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == dark
    assert visit.complaints() == []


def test_a_task_appears_and_ends_without_a_reload(visits: Visits, url: str, database: Database) -> None:
    page = visits.open(url).page
    page.evaluate("window.kept = true")
    expect(page.locator("#running")).to_contain_text("Nothing is running.")
    node(database)
    add(database, task_id="fresh")
    task = take(database, 1)[0]
    expect(page.locator("#running")).to_contain_text("fresh", timeout=SHOWN_WITHIN)
    end(database, task)
    expect(page.locator("#last")).to_contain_text("fresh", timeout=SHOWN_WITHIN)
    expect(page.locator("#last .badge.completed")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_text("All is well", timeout=SHOWN_WITHIN)
    assert page.evaluate("window.kept") is True


def test_times_are_shown_in_the_readers_zone(visits: Visits, url: str, database: Database) -> None:
    fill(database)
    page = visits.open(url).page
    expect(page.locator("#firings time[data-form=at]")).to_contain_text("03:00")  # as the zone of the schedule
    expect(page.locator("#last time").first).to_contain_text(re.compile("sec|now"))
    assert "UTC" not in page.locator("main").inner_text()


def test_the_language_can_be_changed_and_stays(visits: Visits, url: str) -> None:
    page = visits.open(url).page
    page.get_by_role("link", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("没有节点在运行")
    page.goto(url)
    expect(page.get_by_role("heading", level=1)).to_have_text("没有节点在运行")
    expect(page.locator("#events")).to_contain_text("实时", timeout=SHOWN_WITHIN)


def test_an_error_never_wipes_the_page(visits: Visits, url: str, database: Database) -> None:
    fill(database)
    page = visits.open(url).page
    expect(page.locator("#events")).not_to_have_class(re.compile("lost"), timeout=SHOWN_WITHIN)
    page.route("**/live*", lambda route: route.fulfill(status=503, content_type="text/html", body="<p>broken</p>"))
    add(database, task_id="later")
    expect(page.locator("#events")).to_have_class(re.compile("lost"), timeout=SHOWN_WITHIN)
    assert "broken" not in page.content()
    expect(page.locator("#nodes")).to_contain_text("Worker-1")
    page.unroute("**/live*")
    add(database, task_id="last")
    expect(page.locator("#events")).not_to_have_class(re.compile("lost"), timeout=SHOWN_WITHIN)


def test_a_failed_first_connection_is_tried_again(visits: Visits, url: str) -> None:
    visit = visits.open("about:blank")
    page = visit.page
    page.clock.install()
    page.route("**/api/v1/events", lambda route: route.abort())
    page.goto(url)
    page.wait_for_timeout(300)
    expect(page.locator("#events")).to_have_class(re.compile("lost"))
    page.unroute("**/api/v1/events")
    page.clock.fast_forward(31_000)
    expect(page.locator("#events")).not_to_have_class(re.compile("lost"), timeout=SHOWN_WITHIN)


def test_without_a_script_the_page_still_says_it_all(visits: Visits, url: str, database: Database) -> None:
    fill(database)
    page = visits.open(url, java_script_enabled=False).page
    expect(page.locator("#nodes")).to_contain_text("Worker-1")
    expect(page.locator("#last time").first).to_contain_text("UTC")


def test_the_keyboard_shows_where_it_is(visits: Visits, url: str, database: Database) -> None:
    fill(database)
    page = visits.open(url).page
    expect(page.locator("#events")).to_be_visible(timeout=SHOWN_WITHIN)
    for name in ("Skip to the content", "jobrunner", "Documentation", "English", "中文"):
        page.keyboard.press("Tab")
        assert focused(page)[0] == name
        assert focused(page)[1] >= 2, f"{name} shows no focus"


def focused(page: Page) -> tuple[str, float]:
    """The text of what has the focus, and the width of its outline."""
    told = page.evaluate(
        "[document.activeElement.textContent.trim(), parseFloat(getComputedStyle(document.activeElement).outlineWidth)]"
    )
    return told[0], told[1]


def test_signing_in_by_key(visits: Visits, api: Api) -> None:
    service = api.service(api_key=KEY)
    with serving(create_app(service)) as url:
        visit = visits.open(url, width=390)
        page = visit.page
        expect(page.get_by_label("API key")).to_be_focused()
        page.keyboard.type("not the key")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("No node is running")
        expect(page.locator("#events")).to_have_class("stream", timeout=SHOWN_WITHIN)
        cookies = visit.context.cookies()
        kept = [one for one in cookies if one["name"] == f"jobrunner_{url.rpartition(':')[2]}"]
        assert [(one["httpOnly"], one["sameSite"]) for one in kept] == [(True, "Strict")]
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()
        assert visit.complaints() == []
        api.asked.stopping = True
