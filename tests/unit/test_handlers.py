"""Declaring handlers: what is kept, what is refused, and how modules are loaded."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, literal, select

from jobrunner.errors import HandlerError
from jobrunner.handlers import Retry, handlers, load, on_worker_start, on_worker_stop, registry, run_effect, run_hooks
from jobrunner.handlers.declare import task
from jobrunner.handlers.effects import effect, effect_name


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    with registry.isolated():
        yield


def test_the_function_stays_what_it_is_and_its_facts_are_kept() -> None:
    def add(a: int, b: int = 1) -> int:
        """Add two numbers.

        More about it.
        """
        return a + b

    declared = task("add", queue="sums", priority=2, timeout=9, max_attempts=7, retry=Retry(cap=5.0), memory_mb=64)
    assert declared(add) is add
    found = registry.get("add")
    assert (found.kind, found.queue, found.priority, found.timeout) == ("child", "sums", 2, 9)
    assert (found.max_attempts, found.retry.cap, found.memory_mb) == (7, 5.0, 64)
    assert found.description == "Add two numbers."
    assert found.function(2, b=3) == 5


def test_the_kind_follows_from_the_function() -> None:
    async def waits() -> None: ...

    def quick() -> None: ...

    def plain() -> None: ...

    task("waits")(waits)
    task("quick", isolation="inline")(quick)
    task("plain")(plain)
    assert {name: handler.kind for name, handler in handlers().items()} == {
        "waits": "async",
        "quick": "inline",
        "plain": "child",
    }


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"priority": 0}, "1 to 10"),
        ({"priority": 11}, "1 to 10"),
        ({"timeout": 0}, "more than 0"),
        ({"timeout": float("nan")}, "more than 0"),
        ({"timeout": float("inf")}, "more than 0"),
        ({"max_attempts": 0}, "1 or more"),
        ({"memory_mb": 0}, "1 or more"),
        ({"memory_mb": 64, "isolation": "inline"}, "child processes"),
        ({"isolation": "fork"}, "'child' or 'inline'"),
        ({"queue": ""}, "printable"),
        ({"queue": "a/b"}, "part of URLs"),
    ],
)
def test_contradictions_are_refused(wrong: dict[str, Any], told: str) -> None:
    def plain() -> None: ...

    with pytest.raises(HandlerError, match=told):
        task("plain", **wrong)(plain)
    assert handlers() == {}


def test_functions_that_cannot_be_run_as_they_wish_are_refused() -> None:
    async def waits() -> None: ...

    def yields() -> Iterator[int]:
        yield 1

    with pytest.raises(HandlerError, match="loop"):
        task("waits", isolation="inline")(waits)
    with pytest.raises(HandlerError, match="loop"):
        task("waits", isolation="child")(waits)
    with pytest.raises(HandlerError, match="generator"):
        task("yields")(yields)
    with pytest.raises(HandlerError, match="takes a function"):
        task("class")(dict)
    with pytest.raises(HandlerError, match="printable"):
        task("a\nb")


def test_two_functions_under_one_name_are_refused() -> None:
    def one() -> None: ...

    def other() -> None: ...

    task("same")(one)
    with pytest.raises(HandlerError, match=r"one.*other"):
        task("same")(other)
    task("same")(one)
    assert registry.get("same").function is one


def test_modules_are_imported_once_and_failures_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from jobrunner.handlers import task\n@task('{name}')\ndef work(): ...\n"
    (tmp_path / "good_tasks_of_a_test.py").write_text(source.format(name="good"))
    (tmp_path / "bad_tasks_of_a_test.py").write_text("1 / 0\n")
    (tmp_path / "leaving_tasks_of_a_test.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    load(["good_tasks_of_a_test"])
    assert list(handlers()) == ["good"]
    assert registry.modules() == ("good_tasks_of_a_test",)
    with pytest.raises(HandlerError, match=r"bad_tasks_of_a_test.*ZeroDivisionError"):
        load(["bad_tasks_of_a_test"])
    with pytest.raises(HandlerError, match=r"leaving_tasks_of_a_test.*SystemExit"):
        load(["leaving_tasks_of_a_test"])
    with pytest.raises(HandlerError, match=r"missing_tasks_of_a_test.*No module named.*PYTHONPATH"):
        load(["missing_tasks_of_a_test"])
    del sys.modules["good_tasks_of_a_test"]
    load(["good_tasks_of_a_test"])  # a module read anew defines the same function again


def test_a_signature_that_cannot_be_checked_is_told_at_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from jobrunner.handlers import task\n@task('odd')\ndef work(thing: 'NoSuchType'): ...\n"
    (tmp_path / "odd_tasks_of_a_test.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(HandlerError, match="NoSuchType"):
        load(["odd_tasks_of_a_test"])


def test_entry_points_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "entry_tasks_of_a_test.py").write_text(
        "from jobrunner.handlers import task\n@task('entered')\ndef work(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = importlib.metadata.EntryPoint("x", "entry_tasks_of_a_test:work", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "jobrunner.tasks" else [])
    load([])
    assert list(handlers()) == ["entered"]


def test_an_unknown_task_type_names_the_known_ones() -> None:
    task("known")(lambda: None)
    with pytest.raises(HandlerError, match=r"'nope'.*known"):
        registry.get("nope")


def test_effects_run_by_name() -> None:
    @effect("double")
    def double(conn: Connection, rows: list[int]) -> list[int]:
        return [conn.execute(select(literal(2) * row)).scalar_one() for row in rows]

    conn = create_engine("sqlite://").connect()
    conn.begin()
    assert run_effect(conn, "double", [1, 2]) == [2, 4]
    assert effect_name(double) == "double"
    with pytest.raises(HandlerError, match="double"):
        run_effect(conn, "halve", [])
    conn.engine.dispose()
    with pytest.raises(HandlerError, match="no effect"):
        effect_name(lambda conn, rows: None)
    with pytest.raises(HandlerError, match="double"):
        effect("double")(lambda conn, rows: None)


async def _hooks() -> list[str]:
    told: list[str] = []

    @on_worker_start
    def first() -> None:
        told.append("first")

    @on_worker_start
    async def second() -> None:
        told.append("second")

    @on_worker_stop
    def early() -> None:
        told.append("early")

    @on_worker_stop
    async def late() -> None:
        told.append("late")
        raise ValueError("no")

    await run_hooks("start")
    with pytest.raises(ExceptionGroup, match="stop"):
        await run_hooks("stop")
    return told


def test_hooks_run_in_order_and_stop_hooks_backwards() -> None:
    assert asyncio.run(_hooks()) == ["first", "second", "late", "early"]
