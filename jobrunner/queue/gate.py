"""What a JSON value may hold to be kept: one walk through it that finds every problem and where it stands."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from jobrunner.errors import InvalidInput, Problem
from jobrunner.text import visible

MAX_PROBLEMS = 20

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def fits(number: int) -> bool:
    """Whether an integer fits signed 64 bit, as every reader of JSON in other languages expects."""
    return -(2**63) <= number < 2**63


def refused(problems: list[Problem]) -> InvalidInput:
    """The error that tells ``problems``."""
    return InvalidInput("the JSON is refused", problems)


def too_large(max_bytes: int, at: str = "") -> InvalidInput:
    """The error for more than ``max_bytes``."""
    return refused([Problem(at, f"larger than {max_bytes} bytes")])


class Unfit:
    """Stands where the parser met a number that JSON or the database does not have."""

    def __init__(self, token: str) -> None:
        shown = token if len(token) <= 40 else f"{token[:40]}..."
        self.detail = f"{shown} is not a number that can be kept"


class Doubled(dict[str, Any]):
    """An object in which ``keys_twice`` stood more than once."""

    keys_twice: tuple[str, ...] = ()


def integer(token: str) -> int | Unfit:
    """The parser's hook for integers; one of thousands of digits is never computed."""
    if len(token) <= 20 and fits(value := int(token)):
        return value
    return Unfit(token)


def real(token: str) -> float | Unfit:
    """The parser's hook for numbers with a point or an exponent."""
    value = float(token)
    return value if math.isfinite(value) else Unfit(token)


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The parser's hook for objects; remembers keys that stood twice."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = Doubled(found)
    doubled.keys_twice = tuple(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
    return doubled


def inspect(value: Any, *, max_bytes: int | None, max_depth: int, at: str) -> None:
    """Look at every part of ``value``; raises InvalidInput with up to MAX_PROBLEMS problems."""
    walk = _Walk(max_bytes, max_depth, at)
    walk.look(value, 0)
    if walk.problems:
        raise refused(walk.problems)


def ordered(value: Any, room: int, depth: int) -> Any:
    """``value`` with the keys of every object in order; None where its text takes more than ``room``, or in doubt.

    A quick look: where it does not doubt, ``inspect`` finds nothing but what the text shows as well, which are its
    exact size, NUL and lone surrogates. Every writer of JSON spells such a value alike: floats are in doubt where one
    of them could take an exponent. ``depth`` is how deep it may nest.
    """
    try:
        found, left = _ordered(value, room - 2, depth)
    except (_Doubt, TypeError):  # TypeError: keys that are no texts
        return None
    return found if left >= 0 else None


class _Doubt(Exception):
    """``inspect`` shall look."""


def _ordered(value: Any, room: int, depth: int) -> tuple[Any, int]:
    """And what is left of ``room``: looked at before each step down, so that shared or circular parts end the walk."""
    if depth <= 0 or room < 0:
        raise _Doubt
    found: Any
    places: Any
    if type(value) is dict:
        found, places = {}, sorted(value)
        room -= len("".join(places))
    elif type(value) is list:
        found, places = value.copy(), range(len(value))
    else:
        raise _Doubt
    for place in places:
        part = found[place] = value[place]
        kind = type(part)
        if kind is str:
            room -= len(part) + 2
        elif kind is int:
            if not -(2**63) <= part < 2**63:
                raise _Doubt
            room -= 1
        elif kind is bool or part is None:
            room -= 4
        elif kind is float:
            if part and not 1e-3 <= abs(part) <= 1e15:
                raise _Doubt
            room -= 3
        else:
            found[place], room = _ordered(part, room - 2, depth - 1)
    return found, room


class _Walk:
    """One walk through a value. ``room`` counts down what its text takes at least, so that shared or circular parts
    end the walk."""

    def __init__(self, max_bytes: int | None, max_depth: int, at: str) -> None:
        self.problems: list[Problem] = []
        self.path: list[str | int] = []
        self.max_bytes = max_bytes
        self.room = math.inf if max_bytes is None else max_bytes
        self.max_depth = max_depth
        self.at = at

    def look(self, value: Any, depth: int) -> None:
        if isinstance(value, str):
            self.look_at_text(value, "text")
        elif value is None or isinstance(value, bool):
            self.spend(4)
        elif isinstance(value, int):
            self.spend(1)
            if not fits(value):
                self.refuse("an integer outside signed 64 bit")
        elif isinstance(value, float):
            self.spend(3)
            if not math.isfinite(value):
                self.refuse(f"{value} is not a number that can be kept")
        elif isinstance(value, dict | list | tuple):
            self.spend(2)
            if depth == self.max_depth:
                self.refuse(f"nested deeper than {self.max_depth} levels")
            elif isinstance(value, dict):
                self.look_into_object(value, depth)
            else:
                self.look_into_array(value, depth)
        elif isinstance(value, Unfit):
            self.refuse(value.detail)
        else:
            self.refuse(f"{type(value).__name__} is no JSON type")

    def look_into_array(self, value: list[Any] | tuple[Any, ...], depth: int) -> None:
        for position, part in enumerate(value):
            self.path.append(position)
            self.look(part, depth + 1)
            self.path.pop()

    def look_into_object(self, value: dict[Any, Any], depth: int) -> None:
        for key in value.keys_twice if isinstance(value, Doubled) else ():
            self.path.append(key)
            self.refuse("key given twice")
            self.path.pop()
        for key, part in value.items():
            if not isinstance(key, str):
                self.refuse(f"keys must be text, not {type(key).__name__}")
                continue
            self.path.append(key)
            self.look_at_text(key, "key")
            self.look(part, depth + 1)
            self.path.pop()

    def look_at_text(self, text: str, what: str) -> None:
        self.spend(len(text) + 2)
        if "\0" in text:
            self.refuse(f"the {what} holds a NUL character")
        elif not text.isascii() and _SURROGATE.search(text):
            self.refuse(f"the {what} holds half a surrogate pair")

    def spend(self, size: int) -> None:
        self.room -= size
        if self.room < 0 and self.max_bytes is not None:
            raise too_large(self.max_bytes, self.at)

    def refuse(self, detail: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(self.at + "".join(map(_step, self.path)), detail))


def _step(part: str | int) -> str:
    name = str(part).replace("~", "~0").replace("/", "~1")
    return "/" + visible(name[:200], one_line=True)
