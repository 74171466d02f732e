"""The documentation as its readers meet it: on a phone and a screen, in both languages, by day and by night."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from jobrunner.api import docs
from tests.browser.conftest import Visits

pytestmark = pytest.mark.ci

NAMES = sorted(path.stem for path in docs.folder().glob("*.md") if "." not in path.stem)
WHOLE_ON_A_PHONE = ("cli-reference", "old-system")  # their last columns say what it is about
CUT_TABLES = """[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth)
    .map(one => one.innerText.slice(0, 60))"""


@pytest.mark.parametrize(
    ("width", "language", "dark"),
    [(320, "zh-CN", True), (1280, "en-GB", False)],
    ids=["phone, night, Chinese", "screen, day, English"],
)
def test_every_page_fits_and_keeps_the_policy(visits: Visits, url: str, width: int, language: str, dark: bool) -> None:
    visit = visits.open(f"{url}/docs", width=width, language=language, dark=dark)
    page = visit.page
    expect(page.get_by_role("heading", level=1)).to_contain_text("文档" if language == "zh-CN" else "Documentation")
    for name in NAMES:
        page.goto(f"{url}{docs.address(name)}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        if name in WHOLE_ON_A_PHONE:
            assert page.evaluate(CUT_TABLES) == [], name
        background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == dark
    assert visit.complaints() == []


def test_a_reader_goes_from_the_page_to_a_part_of_a_text(visits: Visits, url: str) -> None:
    page = visits.open(url).page
    page.get_by_role("link", name="Documentation").click()
    page.get_by_role("navigation", name="Pages of the documentation").get_by_role("link", name="Writing tasks").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Writing tasks")
    page.get_by_role("navigation", name="Pages of the documentation").get_by_role("link", name="Memory").click()
    assert page.url.endswith("/docs/tasks#memory")
    expect(page.get_by_role("heading", name="Memory")).to_be_in_viewport()
    page.get_by_role("link", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Writing tasks")
