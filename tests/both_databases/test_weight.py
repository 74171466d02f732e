"""A worker loads what it works with, and nothing besides: what it imports is most of its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LIST_LOADED = """
import sys
from jobrunner.cli.main import run
try:
    run(sys.argv[1:])
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
NEVER = {"alembic", "mako", "rich", "pygments", "jsonschema", "pandas", "numpy", "httpx2", "tzlocal"}
ONLY_WHERE_SERVED = {"uvicorn", "starlette", "jinja2"}
ONLY_FOR_A_FILE = {"portalocker"}


def _loaded(url: str, home: Path, *args: str) -> set[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "JOBRUNNER_DATABASE_URL": url}
    command = [sys.executable, "-c", LIST_LOADED, *args, "--until-empty"]
    told = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    return set(told.stdout.split())


@pytest.mark.ci
def test_a_worker_without_a_port(postgres_url: str, tmp_path: Path) -> None:
    loaded = _loaded(postgres_url, tmp_path, "worker")
    assert "psycopg" in loaded
    assert loaded & (NEVER | ONLY_WHERE_SERVED | ONLY_FOR_A_FILE) == set()


def test_a_process_that_does_everything(sqlite_url: str, tmp_path: Path) -> None:
    loaded = _loaded(sqlite_url, tmp_path, "up", "--port", "0")
    assert loaded >= ONLY_WHERE_SERVED | ONLY_FOR_A_FILE
    assert loaded & NEVER == set()
