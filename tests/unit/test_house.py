"""The house rules that a machine can check: sizes, words, the direction of imports, and what stays unloaded."""

from __future__ import annotations

import ast
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import jobrunner
from jobrunner.queue.task import MOVES, Status

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "jobrunner").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SHIPPED_TEXT = [
    *SOURCES,
    *(p for p in sorted((ROOT / "web").rglob("*")) if p.suffix in {".html", ".json", ".js", ".md"}),
]
LONGEST_FILE = 400  # lines
LONGEST_MEDIAN = 100  # lines
MOST_PUBLIC_NAMES = 12
HEAVY = ("sqlalchemy", "alembic", "pandas", "numpy", "starlette", "uvicorn", "apscheduler")

LIST_LOADED = """
import sys
from jobrunner.cli.main import run
try:
    run(sys.argv[1:])
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _nodes(paths: list[Path]) -> Iterator[tuple[str, ast.AST]]:
    for path in paths:
        for node in _parsed(path):
            yield f"{_name(path)}:{getattr(node, 'lineno', 0)}", node


@cache
def _parsed(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def test_no_file_is_long() -> None:
    assert [f"{_name(p)}: {_lines(p)}" for p in [*SOURCES, *TESTS] if _lines(p) > LONGEST_FILE] == []


def test_the_median_file_is_short() -> None:
    sizes = [_lines(path) for path in SOURCES if path.name != "__init__.py" or _lines(path) > 5]
    assert statistics.median(sizes) < LONGEST_MEDIAN


def test_public_names_are_few_sorted_and_there() -> None:
    names = jobrunner.__all__
    assert names == sorted(names)
    assert len(names) == len(set(names)) <= MOST_PUBLIC_NAMES
    assert [name for name in names if getattr(jobrunner, name, None) is None] == []


def test_imports_run_downwards_only() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    told = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize(
    "args", [("--help",), ("--version",), ("version",), ("completion", "bash"), ("schedules", "add", "--help")]
)
def test_help_loads_nothing_heavy(args: tuple[str, ...]) -> None:
    env = {"PATH": os.environ["PATH"], "COLUMNS": "120"}
    told = subprocess.run(
        [sys.executable, "-c", LIST_LOADED, *args], env=env, capture_output=True, text=True, check=False, timeout=30
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip()
    assert set(told.stderr.split()) & set(HEAVY) == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import jobrunner, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert set(told.stdout.split()) & {*HEAVY, "typer", "pydantic", "httpx2"} == set()


def test_a_task_is_never_called_a_job() -> None:
    job = re.compile(r"(?<![a-z])jobs?(?![a-z])", re.IGNORECASE)
    not_ours = re.compile(r"job runner|\.add_job\(")  # what jobrunner is, and how APScheduler names its own
    found = []
    for path in SHIPPED_TEXT:
        if "vendor" in path.parts:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if job.search(not_ours.sub("", line)):
                found.append(f"{_name(path)}:{number}: {line.strip()}")
    assert found == []


def test_there_are_five_statuses_and_every_move_stays_among_them() -> None:
    assert {status.value for status in Status} == {"pending", "running", "completed", "failed", "cancelled"}
    assert all(starts and ends for starts, ends in MOVES.values())


@pytest.mark.ci
def test_nothing_is_pickled() -> None:
    banned = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    found = []
    for place, node in _nodes(SOURCES):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [f"{place}: {name}" for name in names if name.partition(".")[0] in banned]
    assert found == []


def test_only_settings_read_the_environment() -> None:
    elsewhere = [path for path in SOURCES if ROOT / "jobrunner" / "settings" not in path.parents]
    found = [place for place, node in _nodes(elsewhere) if _reads_a_variable(node)]
    assert found == []


def _reads_a_variable(node: ast.AST) -> bool:
    """Handing the whole environment on to a child is no reading of a setting."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.getenv", "os.environ.get", "os.environ.pop"}:
        return True
    return isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ"


def test_only_db_tells_databases_apart() -> None:
    knowing = {ROOT / "jobrunner" / "db", ROOT / "jobrunner" / "settings"}  # settings check the scheme of a URL
    elsewhere = [path for path in SOURCES if not knowing & set(path.parents)]
    found = [
        place
        for place, node in _nodes(elsewhere)
        if (isinstance(node, ast.Attribute) and node.attr == "get_backend_name")
        or (isinstance(node, ast.Constant) and node.value in {"sqlite", "postgresql", "postgres"})
    ]
    assert found == []


def test_no_error_of_any_kind_is_swallowed_without_a_word() -> None:
    found = [
        place
        for place, node in _nodes(SOURCES)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and all(isinstance(line, ast.Pass | ast.Continue) for line in node.body)
    ]
    assert found == []


def test_nothing_is_left_to_be_done() -> None:
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]))
    found = [
        f"{_name(path)}:{number}"
        for path in [*SOURCES, *TESTS]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []
