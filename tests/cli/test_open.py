"""``up --open``: what the browser is asked to show, and what happens where there is none."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from tests.processes import Processes, free_port

BROWSER = """#!{python}
import pathlib, sys, time, urllib.request
request = urllib.request.Request(sys.argv[1], headers={{"Accept": "text/html"}})
status = urllib.request.urlopen(request, timeout=30).status
pathlib.Path("opened.part").write_text(f"{{sys.argv[1]}} {{status}}")
pathlib.Path("opened.part").rename("opened")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the browser of this test is a script")
def test_the_page_is_opened_once_it_answers(processes: Processes, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(BROWSER.format(python=sys.executable))
    browser.chmod(0o755)
    port = free_port()
    served = processes.start("up", "--open", "--json", "--port", str(port), port=port, env={"BROWSER": str(browser)})
    deadline = time.monotonic() + 30
    while not (tmp_path / "opened").exists():
        assert time.monotonic() < deadline, served.tail()
        time.sleep(0.05)
    assert (tmp_path / "opened").read_text() == f"{served.url}/ 200"
    assert served.output.count("\n") == 1, "the browser says nothing in our place"
    served.signal(signal.SIGINT)
    assert served.wait() == 0
    assert "No browser" not in served.errors


def test_without_a_browser_it_says_so_and_goes_on(processes: Processes, tmp_path: Path) -> None:
    port = free_port()
    served = processes.start("up", "--open", "--port", str(port), port=port, env={"PATH": str(tmp_path), "DISPLAY": ""})
    served.wait_for_line(f"No browser is here to open the page with; it is at {served.url}")
    served.wait_healthy()


def test_behind_a_proxy_the_page_is_there(processes: Processes) -> None:
    served = processes.start("up", "--open", "--port", "0", "--root-path", "/tasks")
    served.wait_for_line("the page is where a proxy serves it, under /tasks")
