"""Each mutant of the core is killed by the test that is named for it, in a tree that differs in one file."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PARTS = ("jobrunner", "migrations", "tests", "web", "alembic.ini", "pyproject.toml")
FAILED = 1  # pytest's exit code where tests failed, and nothing else went wrong
PATIENCE = 100  # seconds for one of them
SEEDS = range(1, 13)  # of chaos, until one of them shows what a mutant breaks
# A mutant that cannot even run is killed by any test, and proves nothing about this one.
BROKEN = re.compile(r"^E +(Syntax|Name|Import|ModuleNotFound|Attribute|Type)Error\b", re.MULTILINE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Looks like the whole tree, and is links to it: what was compiled there need not be compiled anew."""
    for name in PARTS:
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def _own(path: Path, root: Path) -> None:
    """Let ``path`` be a file of this tree alone, and the folders above it with it."""
    folder = root
    for part in path.relative_to(root).parts[:-1]:
        folder /= part
        if folder.is_symlink():
            real = folder.resolve()
            folder.unlink()
            folder.mkdir()
            for entry in real.iterdir():
                (folder / entry.name).symlink_to(entry)
    text = path.read_text()
    path.unlink()
    path.write_text(text)


def _run(
    tree: Path, server: str, killers: Iterable[str], patience: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "JOBRUNNER_TEST_DATABASE_URL": server, "PYTHONDONTWRITEBYTECODE": "1"}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they cost as much again as the test itself
    plugins = ("-p", "pytest_timeout", "-p", "no:cacheprovider")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *plugins, "-o", "addopts=", *killers],
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
        timeout=patience,
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code_of_today(mutant: Mutant) -> None:
    """With each run, since the rest waits for a long one: what it breaks is there, and so is the test it is for."""
    assert (ROOT / "jobrunner" / mutant.file).read_text().count(mutant.sound) == 1
    path, _, test = mutant.killer.partition("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / path).read_text()


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant: Mutant, tree: Path, postgres_server_url: str) -> None:
    _own(tree / "jobrunner" / mutant.file, tree)
    mutant.plant(tree)
    told = _run(tree, postgres_server_url, [mutant.killer])
    assert told.returncode == FAILED, f"{mutant.name} lives, or its killer never ran:\n{told.stdout[-2000:]}"
    assert " failed" in told.stdout, told.stdout[-2000:]
    assert not BROKEN.search(told.stdout), f"{mutant.name} cannot run, so it proves nothing:\n{told.stdout[-2000:]}"
    print("\n".join(line for line in told.stdout.splitlines() if line.startswith("E  ")))


@pytest.mark.long
@pytest.mark.timeout(15 * PATIENCE)
@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.breaks], ids=lambda mutant: mutant.name)
def test_a_mutant_is_seen_in_a_history(mutant: Mutant, tree: Path) -> None:
    _own(tree / "jobrunner" / mutant.file, tree)
    mutant.plant(tree)
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        seen.update(one.split()[0] for one in _violations(tree, seed))
        if seen[mutant.breaks]:
            break
    print(f"FIGURE {mutant.name}: seed {seed} breaks {dict(seen)}")
    assert seen[mutant.breaks], f"{mutant.name} lives: {dict(seen)}"


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_history_accuses_nobody_where_nothing_is_broken(seed: int, tree: Path) -> None:
    assert _violations(tree, seed) == []


def _violations(tree: Path, seed: int) -> list[str]:
    command = [sys.executable, "-m", "tests.faults.chaos", "--seed", str(seed)]
    with subprocess.Popen(
        command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            out, errors = running.communicate(timeout=2 * PATIENCE)
        finally:
            with suppress(ProcessLookupError):  # a mutant's processes may not end by themselves
                os.killpg(running.pid, signal.SIGKILL)
    return list(json.loads(out.splitlines()[0])["violations"]) if out else [f"nothing told: {errors[-1000:]}"]


@pytest.mark.long
@pytest.mark.timeout(5 * PATIENCE)
def test_their_killers_pass_where_nothing_is_broken(tree: Path, postgres_server_url: str) -> None:
    killers = dict.fromkeys(mutant.killer for mutant in MUTANTS)
    told = _run(tree, postgres_server_url, killers, 4 * PATIENCE)
    assert told.returncode == 0, told.stdout[-2000:]
