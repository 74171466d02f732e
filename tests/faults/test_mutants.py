"""Each mutant of the core is killed by the test that is named for it, in a copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("jobrunner", "migrations", "tests", "web", "alembic.ini", "pyproject.toml")
FAILED = 1  # pytest's exit code where tests failed, and nothing else went wrong
PATIENCE = 100  # seconds


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A tree that may be broken."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


@pytest.mark.ci
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant: Mutant, copy: Path, postgres_server_url: str) -> None:
    mutant.plant(copy)
    env = {**os.environ, "JOBRUNNER_TEST_DATABASE_URL": postgres_server_url, "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", mutant.killer],
        cwd=copy,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert told.returncode == FAILED, f"{mutant.name} lives, or its killer never ran:\n{told.stdout[-2000:]}"
    assert " failed" in told.stdout, told.stdout[-2000:]
