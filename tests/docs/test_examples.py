"""The examples of the hand-written pages, done as a reader would do them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.docs.typing_in import blocks, documents, save, typed
from tests.processes import Process, Processes, free_port

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


def up(processes: Processes, handlers: list[str], env: dict[str, str] | None = None) -> Process:
    port = free_port()
    named = ("--handlers", ",".join(name.removesuffix(".py") for name in handlers)) if handlers else ()
    process = processes.start("up", *named, "--port", str(port), port=port, env=env)
    process.wait_healthy()
    return process


def done(served: Process, task_type: str, task_id: str, **told: Any) -> Any:
    """Submit a task, and wait for its end."""
    answer = httpx2.post(
        f"{served.url}/api/v1/task/execute", json={"task_type": task_type, "task_id": task_id, "task_data": told}
    )
    assert answer.status_code == 202, answer.text
    return ended(served, task_id)


def ended(served: Process, task_id: str) -> Any:
    return httpx2.get(f"{served.url}/api/v1/tasks/{task_id}", params={"wait": 30}, timeout=60).json()


def test_first_steps(tmp_path: Path, processes: Processes) -> None:
    served = up(processes, save("start.md", tmp_path))
    submit, named, curls, fails, again = blocks("start.md", "bash")
    assert json.loads(typed(submit, tmp_path)) == {"width": 320, "height": 240}
    assert '{"width": 160, "height": 120}' in typed(named, tmp_path)
    refused = typed(f"{submit.replace(':=480', '=tall').strip()} 2>&1 || echo $?", tmp_path)
    assert "/task_data/height" in refused
    assert refused.splitlines()[-1] == "2"
    accepted, second = documents(typed(curls, tmp_path, served.url))
    assert accepted["status"] == "pending"
    assert second["result"] == {"width": 32, "height": 24}
    told = typed(fails, tmp_path)
    assert "exit code 4" in told
    assert told.count("the bank does not answer") == 3  # the task's error, and that of each attempt
    told = typed(again, tmp_path)
    assert "T03:00:00+0" in told
    assert "nightly@" in told


@pytest.mark.parametrize("page", ["celery.md", "procrastinate.md"])
def test_moving(tmp_path: Path, processes: Processes, page: str) -> None:
    there = page.replace(".md", "_shop.py")
    assert save(page, tmp_path, but=frozenset({there})) == ["shop.py"]
    served = up(processes, ["shop.py"])
    told = "".join(typed(block, tmp_path, served.url) for block in blocks(page, "bash"))
    assert '{"bytes": 15}' in told
    assert "T03:00:00" in told
    if page == "celery.md":
        status = documents(told)[2]
        assert (status["status"], status["result"]) == ("completed", {"bytes": 15})
    else:
        assert told.splitlines()[:2] == ["fetch-1", "fetch-1"]  # one task, though its key was asked for twice


def test_retries(tmp_path: Path, processes: Processes) -> None:
    served = up(processes, save("howto-retries.md", tmp_path))
    assert done(served, "calls.fetch", "works", url=f"{served.url}/healthz")["result"] == {"bytes": 15}
    refused = done(served, "calls.fetch", "refused", url="ftp://nowhere")
    assert (refused["status"], refused["attempt"]) == ("failed", 1)
    body = {"task_type": "exports.load", "task_id": "load", "task_data": {"path": "there.txt"}}
    httpx2.post(f"{served.url}/api/v1/task/execute", json=body)
    served.wait_for_line("is not there yet")
    (tmp_path / "there.txt").write_text("1\n2\n")
    loaded = ended(served, "load")
    assert loaded["result"]["lines"] == 2
    assert loaded["result"]["attempt"] > 1
    assert loaded["failures"] == 0
    httpx2.post(f"{served.url}/api/v1/task/execute", json={"task_type": "loops.watch", "task_id": "watch"})
    while httpx2.get(f"{served.url}/api/v1/tasks/watch").json()["status"] == "pending":
        time.sleep(0.1)
    httpx2.post(f"{served.url}/api/v1/tasks/watch/cancel", json={})
    assert ended(served, "watch")["status"] == "cancelled"
    assert "refused" in typed(blocks("howto-retries.md", "bash")[0], tmp_path)


def test_schedules(tmp_path: Path, processes: Processes) -> None:
    names = save("howto-schedules.md", tmp_path)
    (tmp_path / "node_config.json").write_text(blocks("howto-schedules.md", "json")[0])
    served = up(processes, names)
    calls = f"{served.url}/api/v1/schedules"
    (from_file,) = httpx2.get(calls).json()["schedules"]
    assert (from_file["name"], from_file["queue"], from_file["timezone"]) == ("close", "imports", "Asia/Shanghai")
    add, keyed, _ = blocks("howto-schedules.md", "bash")
    assert "T17:30:00+08:00" in typed(add, tmp_path)
    typed(keyed, tmp_path)
    httpx2.post(calls, json={"name": "daily", "every": 3600, "task_type": "daily.report"})
    task_id = httpx2.post(f"{calls}/daily/run", json={}).json()["task_id"]
    assert ended(served, task_id)["result"] == {"day": task_id.partition("@")[2][:10]}
    ticks = [httpx2.post(f"{calls}/sync/run", json={}).json()["task_id"] for _ in range(3)]
    assert [ended(served, tick)["status"] for tick in ticks] == ["completed"] * 3
    work = httpx2.get(f"{served.url}/api/v1/tasks", params={"type": "sync.work"}).json()["tasks"]
    assert 1 <= len(work) < 3  # a second one only where the first one's work had ended before


def test_an_orders_task_is_there_only_with_the_order(tmp_path: Path, processes: Processes, postgres_url: str) -> None:
    assert save("howto-enqueue.md", tmp_path) == ["orders.py", "place.py"]
    served = up(processes, ["orders.py"], env={"JOBRUNNER_DATABASE_URL": postgres_url})
    told = typed("python place.py", tmp_path, SHOP_DATABASE_URL=postgres_url)
    assert told.splitlines() == ["1", "out of coffee"]
    assert ended(served, "receipt-1")["result"] == {"sent": 1}
    assert len(httpx2.get(f"{served.url}/api/v1/tasks").json()["tasks"]) == 1


def test_handlers_that_run_twice_survive(tmp_path: Path) -> None:
    assert save("howto-repeats.md", tmp_path) == ["stock.py", "payments.py", "test_stock.py"]
    typed("python -m pytest -q -p no:cacheprovider test_stock.py", tmp_path)


def test_keys_and_tls(tmp_path: Path, processes: Processes) -> None:
    env = {"JOBRUNNER_API_KEY": "correct-horse-battery"}
    served = up(processes, [], env=env)
    make, change, certificate = blocks("howto-keys.md", "bash")
    made = json.loads(typed(make, tmp_path, served.url, **env))
    assert (made["queues"], made["rate"]) == (["mail"], 50)
    turned = json.loads(typed(change, tmp_path, served.url, KEY_ID=made["id"], **env))
    assert turned["replaces"] == made["id"]
    deadline = time.monotonic() + 10
    while httpx2.get(f"{served.url}/docs", headers={"X-API-Key": turned["key"]}).status_code != 200:
        assert time.monotonic() < deadline, "a new key opens within five seconds"
        time.sleep(0.5)
    assert httpx2.get(f"{served.url}/docs", headers={"X-API-Key": made["key"]}).status_code == 401
    served.stop()
    typed(certificate, tmp_path)
    port = free_port()
    files = ("--ssl-keyfile", "key.pem", "--ssl-certfile", "cert.pem")
    secure = processes.start("worker", "--port", str(port), *files, port=port, env=env)
    secure.wait_for_line('"event": "ready"')
    assert typed(f"curl -s --cacert cert.pem https://127.0.0.1:{port}/healthz", tmp_path) == '{"status":"ok"}'


def test_behind_a_proxy_nobody_comes_in_without_a_key(processes: Processes) -> None:
    served = up(processes, [])
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert httpx2.get(f"{served.url}/api/v1/tasks", headers={name: "127.0.0.1"}).status_code == 403
    assert httpx2.get(f"{served.url}/readyz", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 200
