"""The README's tour, its task and the Procfile, run as they are written."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from jobrunner.data_import.sample import write_sample
from tests.docs.typing_in import documents, typed
from tests.processes import Processes, free_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(title: str, kind: str) -> list[str]:
    _, found, rest = README.partition(f"\n## {title}\n")
    assert found
    return [body for language, body in FENCED.findall(rest.partition("\n## ")[0]) if language == kind]


@pytest.mark.ci
def test_the_tour(tmp_path: Path, processes: Processes) -> None:
    start, shell, curls = _blocks("A minute's tour", "bash")
    write_sample(tmp_path / ".jobrunner" / "sample-vipdoc")
    port = free_port()
    words = start.split()
    assert words[0] == ".venv/bin/jobrunner"
    up = processes.start(*words[1:], "--port", str(port), port=port)
    up.wait_healthy()
    told = typed(shell, tmp_path, up.url)
    first, second, *_ = documents(told)
    assert (first["imported_count"], first["inserted"]) == (2, 240)
    assert second["unchanged"] == second["total_records"] > 90
    assert "All is well." in told.splitlines()
    health, accepted, status, stats = documents(typed(curls, tmp_path, up.url))
    assert health["status"] == "healthy"
    assert (accepted["task_id"], accepted["status"]) == ("test_001", "pending")
    assert status["status"] in ("pending", "running", "completed")
    assert stats["data"]["node_info"]["max_workers"] == 4


@pytest.mark.ci
def test_the_task_of_six_lines_and_its_effect(tmp_path: Path, processes: Processes) -> None:
    task, effect = _blocks("Your own task", "python")
    assert len([line for line in task.splitlines() if line]) == 6
    (tmp_path / "shop.py").write_text(task + effect)
    port = free_port()
    up = processes.start("up", "--handlers", "shop", "--port", str(port), port=port)
    up.wait_healthy()
    (submit,) = _blocks("Your own task", "bash")
    assert json.loads(typed(submit, tmp_path, up.url)) == {"text": "Hello, World"}
    typed("jobrunner submit greet_once name=Ann --wait", tmp_path, up.url)
    assert up.stop() == 0
    with sqlite3.connect(tmp_path / ".jobrunner" / "jobrunner.db") as conn:
        assert conn.execute("SELECT name FROM greetings").fetchall() == [("Ann",)]


@pytest.mark.parametrize("command", ["alembic upgrade head", "jobrunner db upgrade"])
def test_both_ways_to_migrate(command: str, empty_postgres_url: str, tmp_path: Path, processes: Processes) -> None:
    (block,) = _blocks("Many machines: PostgreSQL", "bash")
    assert "alembic upgrade head && jobrunner worker" in block
    program, *words = command.split()
    env = {"JOBRUNNER_DATABASE_URL": empty_postgres_url}
    if program == "alembic":
        for name in ("alembic.ini", "migrations"):
            (tmp_path / name).symlink_to(ROOT / name)
    migrated = processes.start_command([str(Path(sys.executable).with_name(program)), *words], env=env)
    assert migrated.wait() == 0, migrated.tail()
    worker = processes.start("worker", "--until-empty", env=env)
    assert worker.wait() == 0, worker.tail()


@pytest.mark.ci
def test_the_procfile_starts_with_a_key_and_says_what_is_missing_without(tmp_path: Path, processes: Processes) -> None:
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert list(lines) == ["release", "web", "worker"]
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {"PORT": str(port), "PATH": path}
    open_door = processes.start_command(["sh", "-c", lines["web"]], env=env)
    assert open_door.wait() == 2
    assert "JOBRUNNER_API_KEY set to a long random text" in open_door.errors
    web = processes.start_command(
        ["sh", "-c", f"exec {lines['web']}"], env={**env, "JOBRUNNER_API_KEY": "correct-horse"}, port=port
    )
    web.wait_healthy()
    assert web.stop() == 0
    worker = processes.start_command(["sh", "-c", f"exec {lines['worker']} --until-empty"], env=env)
    assert worker.wait() == 0, worker.tail()
