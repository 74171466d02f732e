"""What the README and the documentation say is compared with the code: no name in them can be wrong for long."""

from __future__ import annotations

import ast
import json
import re
import shlex
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer

from jobrunner.api import docs, markdown
from jobrunner.api.routes import TABLE
from jobrunner.cli.main import app
from jobrunner.queue.task import MOVES
from jobrunner.settings import Settings
from jobrunner.settings.keys import FILE_ONLY, variables
from jobrunner.settings.loading import OTHER_VARIABLES

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "web" / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
ASSIGNMENT = re.compile(r"(export )?[A-Z_]+=\S*")
LINK = re.compile(r"\]\(([^)\s]+)\)")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def _fenced(page: Path) -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in FENCED.finditer(page.read_text())]


def _section(page: Path, title: str) -> str:
    _, _, rest = page.read_text().partition(f"\n## {title}\n")
    assert rest, f"{page.name} has no section {title!r}"
    return rest.partition("\n## ")[0]


def _table(text: str, *headers: str) -> list[list[str]]:
    """The cells of the table under these headers."""
    _, found, rest = text.partition(f"| {' | '.join(headers)} |\n")
    assert found, f"no table {headers}"
    rows = rest.partition("\n\n")[0].strip().splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_readme_begins_with_two_commands_of_one_line() -> None:
    (_, install), (_, test) = _fenced(README)[:2]
    assert install == "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/jobrunner up --demo\n"
    begin = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -q"
    assert re.fullmatch(re.escape(begin) + ".*\n", test)


def test_the_settings_are_the_settings() -> None:
    rows = _table(_section(README, "Operating it"), "key", "default", "environment", "meaning")
    told = {key.strip("`"): (default.strip("`"), environment) for key, default, environment, _ in rows}
    real = {
        key: (
            _default(field.default),
            "file only" if key in FILE_ONLY else " ".join(f"`{name}`" for name in variables(key)),
        )
        for key, field in Settings.model_fields.items()
    }
    assert list(told) == list(real)
    assert told == real
    assert all(meaning for *_, meaning in rows)


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value in (None, ()) else str(value)


def test_the_moves_are_the_moves() -> None:
    rows = _table(_section(README, "The words"), "move", "from", "to")
    told = {move: (set(starts.split(", ")), set(ends.split(", "))) for move, starts, ends in rows}
    assert told == {move: (set(starts), set(ends)) for move, (starts, ends) in MOVES.items()}


def _said(page: Path) -> list[str]:
    """Every command that a page names: lines of its shell blocks, and spans of its text."""
    text = page.read_text()
    blocks = [body for kind, body in _fenced(page) if kind in ("bash", "sh", "console")]
    lines = [*"\n".join(blocks).splitlines(), *SPAN.findall(FENCED.sub("", text))]
    return [part.strip() for line in lines for part in re.split(r"&&|\|(?!\|)", line)]


def _commands(page: Path) -> list[tuple[list[str], bool]]:
    """The words behind each ``jobrunner`` on a page, and whether they are a whole command line."""
    found = []
    for said in _said(page):
        try:
            words = shlex.split(said, comments=True)
        except ValueError:  # half of a command that was cut at a quoted | or &&
            continue
        while words and ASSIGNMENT.fullmatch(words[0]):
            words = words[1:]
        if not words or words[0].rpartition("/")[2] != "jobrunner":
            continue
        named = list(takewhile(lambda word: word not in ("...", "--help"), words[1:]))
        if named and not named[0].isupper() and not all(word.startswith("-") for word in named):
            found.append((named, named == words[1:]))
    return found


@pages
def test_every_command_parses(page: Path) -> None:
    wrong = []
    for words, whole in _commands(page):
        try:
            _parse(words, whole=whole)
        except Exception as error:
            wrong.append(f"jobrunner {shlex.join(words)}: {type(error).__name__} {getattr(error, 'message', error)}")
    assert wrong == []


def _parse(words: list[str], *, whole: bool = True) -> None:
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "commands"):
        if not words and not whole:
            return
        context = command.make_context("jobrunner", words, parent=context)
        if command.invoke_without_command and not context._protected_args:
            return  # a group that does something by itself
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    if whole:
        command.make_context("jobrunner", words, parent=context)


def test_a_command_that_is_none_would_be_noticed() -> None:
    for words in (["schedules", "ad"], ["worker", "--max-worker"], ["submit"], ["schedules", "next", "a", "-n", "x"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing|valid"):
            _parse(words)


@pages
def test_every_variable_is_known(page: Path) -> None:
    known = {name for key in Settings.model_fields for name in variables(key)}
    named = set(re.findall(r"JOBRUNNER_[A-Z_]*[A-Z]", page.read_text()))
    assert {name for name in named if name not in known and not OTHER_VARIABLES.fullmatch(name)} == set()


@pages
def test_every_call_is_in_the_table(page: Path) -> None:
    known = [re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(route.path))) for route in TABLE]
    written = re.findall(r"/api/v1/[\w/{}.:$-]*", page.read_text())
    named = {path.rstrip(".,:;") for path in written if not path.endswith("...")}
    assert {path for path in named if not any(route.fullmatch(path) for route in known)} == set()


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(FENCED.sub("", page.read_text())):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = page if not path else page.parent / path
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            dead.append(target)
    assert dead == []


def _anchors(page: Path) -> set[str]:
    return {heading.anchor for heading in markdown.render(page.read_text(), docs.linker("")).headings}


@pages
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"\btests/[\w/.]*\w", page.read_text()))
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_page_is_in_the_table_of_contents() -> None:
    home = docs.folder()
    for index in (home / "index.md", *home.glob("index.*.md")):
        linked = set(LINK.findall(index.read_text()))
        assert {page.name for page in home.glob("*.md") if "." not in page.stem} == linked | {"index.md"}, index.name


@pages
def test_python_compiles_and_takes_only_names_that_are_there(page: Path) -> None:
    for kind, body in _fenced(page):
        if kind != "python":
            continue
        for node in ast.walk(ast.parse(body)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                for name in names:
                    if name.partition(".")[0] == "jobrunner":
                        import_module(name)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "jobrunner":
                home = import_module(node.module or "")
                assert [name for name in names if not hasattr(home, name)] == []


@pages
def test_json_is_json(page: Path) -> None:
    for kind, body in _fenced(page):
        if kind == "json":
            json.loads(body)
