"""The wheel by itself: built, installed where there is no checkout, migrated and asked, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx2
import pytest
from packaging.requirements import Requirement

from tests.processes import Processes, free_port

ROOT = Path(__file__).parents[1]
WHERE = """
import json
import jobrunner
from jobrunner.api import web
from jobrunner.db import migrate
home = migrate._config().get_main_option("script_location")
print(json.dumps({"package": jobrunner.__file__, "web": str(web.folder()), "migrations": home}))
"""

pytestmark = pytest.mark.ci


def _run(*command: str | Path, cwd: Path) -> str:
    """The standard output of a command that must succeed, in an environment of PATH and HOME alone."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    told = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False, timeout=100)
    assert told.returncode == 0, f"{' '.join(map(str, command))}\n{told.stdout}\n{told.stderr}"
    return told.stdout


def _needed(name: str, extras: frozenset[str] = frozenset()) -> Iterator[Distribution]:
    """What an installed distribution depends on here, and what that depends on, and so on."""
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield distribution(requirement.name)
            yield from _needed(requirement.name, frozenset(requirement.extras))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and what it declares to need, and nothing else.

    The dependencies are links to those of the running environment, which spares a download of 100 MB. One that the
    wheel needs and does not declare is missing there, as it would be in a real installation.
    """
    home = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", home, ROOT, cwd=home)
    (wheel,) = home.glob("*.whl")
    venv.create(home / "env", symlinks=True)
    python = home / "env" / "bin" / "python"
    _run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=home)
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    for one in {one.name: one for one in _needed("jobrunner")}.values():
        for top in {file.parts[0] for file in one.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(one.locate_file(top))))
    return python


def test_everything_comes_from_the_wheel_and_is_declared(installed: Path, tmp_path: Path) -> None:
    told = _run(installed, "-I", "-c", WHERE, cwd=tmp_path)
    env = installed.parents[1]
    for part in ("package", "web", "migrations"):
        assert f'"{part}": "{env}' in told, told
    package = next(env.glob("lib/python*/site-packages/jobrunner"))
    assert not package.is_symlink()
    assert (package / "_alembic.ini").read_bytes() == (ROOT / "alembic.ini").read_bytes()
    for folder in ("web", "migrations"):
        ours = {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if _shipped(p)}
        theirs = {p.relative_to(package / f"_{folder}") for p in (package / f"_{folder}").rglob("*") if _shipped(p)}
        assert ours == theirs
    _run(sys.executable, "-m", "pip", "--python", installed, "check", cwd=tmp_path)


def _shipped(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def test_it_migrates_serves_and_works_without_a_checkout(
    installed: Path, empty_database_url: str, processes: Processes
) -> None:
    program = str(installed.with_name("jobrunner"))
    env = {"JOBRUNNER_DATABASE_URL": empty_database_url}
    migrated = processes.start_command([program, "db", "upgrade"], env=env)
    assert migrated.wait() == 0, migrated.tail()
    port = free_port()
    up = processes.start_command([program, "up", "--port", str(port)], env=env, port=port)
    up.wait_healthy()
    page = httpx2.get(f"{up.url}/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "<main" in page.text
    style = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    sheet = httpx2.get(f"{up.url}{style}")
    assert (sheet.status_code, sheet.headers["content-type"].partition(";")[0]) == (200, "text/css")
    health = httpx2.get(f"{up.url}/api/v1/health").json()
    assert (health["status"], health["capabilities"]) == ("healthy", ["data_import"])
    body = {"task_id": "test_001", "task_type": "data_import", "task_data": {"symbols": ["000001.SZ"]}}
    answer = httpx2.post(f"{up.url}/api/v1/task/execute", json=body)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert up.stop() == 0
