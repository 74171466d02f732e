"""The written references say what the commands and the calls are now."""

from __future__ import annotations

import subprocess
import sys
from itertools import takewhile
from typing import Any

import pytest
import typer

from jobrunner.api import docs, markdown
from jobrunner.api.routes import TABLE
from jobrunner.cli.main import app
from tests.docs.write import WRITTEN


def page(name: str) -> str:
    return (docs.folder() / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", WRITTEN)
def test_a_reference_is_written_of_what_is_there_now(name: str) -> None:
    assert page(name) == WRITTEN[name](), "write it anew: python -m tests.docs.write"


def test_every_command_and_every_option_has_its_line() -> None:
    text, group = page("cli-reference.md"), typer.main.get_command(app)
    commands: Any = getattr(group, "commands")  # noqa: B009 - typer's group, which its types do not tell
    for name, command in commands.items():
        for part, one in getattr(command, "commands", {"": command}).items():
            _, found, rest = text.partition(f"\n## {name} {part}".rstrip() + "\n")
            assert found, f"{name} {part}"
            section = rest.partition("\n## ")[0]
            for option in one.params:
                assert all(f"`{flag}`" in section for flag in option.opts if flag.startswith("--")), option.opts


def test_every_call_has_its_part_with_its_scope() -> None:
    text = page("rest-reference.md")
    for row in TABLE:
        for method in row.methods:
            if row.path.startswith("/api/"):
                _, found, rest = text.partition(f"\n### {method} {row.path}\n")
                assert found, f"{method} {row.path}"
                assert f"Scope: {row.scope}." in rest.partition("\n### ")[0]


def test_help_is_told_in_the_words_of_help() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "jobrunner", "wait", "--help"],
        env={"COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Stop waiting then; the tasks go on." in told
    section = page("cli-reference.md").partition("\n## wait\n")[2].partition("\n## ")[0]
    assert "| `--timeout` | `10m` | Stop waiting then; the tasks go on. |" in section
    assert "jobrunner wait ID... [OPTIONS]" in section


def test_no_two_parts_of_a_reference_have_one_name() -> None:
    for name in WRITTEN:
        words = [heading.words.lower() for heading in markdown.render(page(name), docs.linker("")).headings]
        assert len(words) == len(set(words)), "links would lead to the first of them"


def test_a_column_that_says_nothing_is_left_out() -> None:
    for name in WRITTEN:
        lines = page(name).splitlines()
        tables = [[*lines[at - 1 : at], *takewhile(bool, lines[at + 1 :])] for at in _rules(lines)]
        assert len(tables) > 20
        columns = [column for rows in tables for column in zip(*map(_cells, rows), strict=True)]
        assert [column for column in columns if not any(column[1:])] == []


def _rules(lines: list[str]) -> list[int]:
    return [at for at, line in enumerate(lines) if line.startswith("|---")]


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.replace("\\|", "/").removeprefix("|").removesuffix("|").split("|")]
