"""What a task does to the world outside the database, as the fakes of a test tell it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobrunner.queue import codec
from jobrunner.testing.errors import RehearsalError

_hears: Callable[[Call], None] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call that left the process. Two of the same name and ``key`` (not None) are one to whoever is called."""

    name: str
    args: tuple[Any, ...] = ()
    key: str | None = None

    def __str__(self) -> str:
        said = ", ".join(repr(arg) for arg in self.args)
        return f"{self.name}({said})" + ("" if self.key is None else f" with key {self.key!r}")


def call(name: str, *args: Any, key: str | None = None) -> None:
    """For a fake: tell that the task called ``name`` just now. ``args`` are JSON values.

    ``key`` is the idempotency key that went with the call, where the other side heeds one: then a call that is made
    again counts once. Raises RehearsalError where neither ``run`` nor ``survive`` is at work, InvalidInput for what is
    no JSON.
    """
    if _hears is None:
        raise RehearsalError(f"call {name!r}: nobody listens outside of jobrunner.testing.run and survive")
    _hears(Call(name, tuple(json.loads(codec.dump(list(args)))), key))


@contextmanager
def heard(by: Callable[[Call], None]) -> Iterator[None]:
    """Inside the block every call of this process, of whatever thread, is told to ``by``."""
    global _hears
    former, _hears = _hears, by
    try:
        yield
    finally:
        _hears = former


def write_call(path: str, made: Call) -> None:
    """Keep a call in a file, at once: the process may be killed at the next moment."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps([made.name, made.args, made.key]).encode() + b"\n")
    finally:
        os.close(file)


def read_calls(path: Path) -> tuple[Call, ...]:
    """The calls in a file that :func:`write_call` made, in order; of those with one key the first."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    made = [Call(name, tuple(args), key) for name, args, key in map(json.loads, lines)]
    return tuple(heeded(made))


def heeded(made: list[Call]) -> list[Call]:
    """The calls without those that the other side knows again by their key."""
    kept: list[Call] = []
    for one in made:
        if one.key is None or not any((known.name, known.key) == (one.name, one.key) for known in kept):
            kept.append(one)
    return kept
