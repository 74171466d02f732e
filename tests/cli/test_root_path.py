"""A process that a proxy serves under a path, and commands that go through the proxy or straight to it."""

from __future__ import annotations

import httpx2
import pytest

from jobrunner.cli.exits import Exit
from tests.cli.conftest import Jr
from tests.processes import Processes, free_port
from tests.stripping import Stripping

KEY = "a-key-of-this-test"


def test_commands_go_through_the_proxy(
    jr: Jr, chores: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    words = ("up", "--port", str(port), "--handlers", chores, "--root-path", "tasks/")
    served = processes.start(*words, env={"JOBRUNNER_API_KEY": KEY}, port=port)
    served.wait_healthy()
    monkeypatch.setenv("JOBRUNNER_API_KEY", KEY)
    with Stripping("/tasks", port) as proxy:
        there = ("--url", f"{proxy.url}/")
        told = jr("submit", "add", "x:=2", "--task-id", "one", "--wait", "--wait-timeout", "30", "--json", *there)
        assert (told.code, told.json["result"]) == (0, {"value": 3}), told
        assert [task["task_id"] for task in jr("list", "--json", *there).json["tasks"]] == ["one"]
        assert jr("health", "ready", *there).out == "ready\n"
        (node,) = jr("nodes", "--json", *there).json["nodes"]
        assert node["address"] == served.url, "nodes are asked themselves, and not through the proxy"
        assert jr("nodes", "test", node["name"], *there).code == 0
        assert all(path.startswith("/tasks/") for path in proxy.seen)
        assert f'href="{proxy.url.removeprefix(proxy.origin)}/docs"' in _page(proxy.url)
    assert jr("status", "one", "--json", "--url", served.url).json["status"] == "completed"
    assert jr("health", "live", "--url", served.url).code == 0


def _page(url: str) -> str:
    answer = httpx2.get(f"{url}/", headers={"accept": "text/html", "X-API-Key": KEY})
    assert answer.status_code == 200
    return answer.text


def test_what_is_no_path_is_refused_with_a_sentence(jr: Jr) -> None:
    told = jr("api", "--root-path", "https://example.org/tasks")
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert "root_path (flag): bad value" in told.err
    assert "write the path alone, such as /tasks" in told.err
