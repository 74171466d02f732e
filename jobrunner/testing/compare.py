"""Whether two runs left the same behind, and in which words they did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jobrunner.queue.task import Status
from jobrunner.testing.calls import Call
from jobrunner.testing.rows import State

SHOWN = 5  # differences spelled out of one kind


@dataclass(frozen=True)
class Left:
    """What one run left behind, after so many attempts."""

    status: Status
    result: Any
    error: str | None
    state: State
    calls: tuple[Call, ...]
    attempts: int = 1  # not compared


def differences(first: Left, other: Left) -> list[str]:
    """What is different in ``other``, a sentence each; empty where it is as if it had run as ``first`` did."""
    found = []
    if other.status is not first.status:
        because = f": {other.error}" if other.error else ""
        found.append(f"status {other.status} instead of {first.status}{because}")
    elif other.result != first.result:
        found.append(f"result {other.result!r} instead of {first.result!r}")
    for name in sorted({*first.state, *other.state}):
        found += _counted(f"{name}: row", first.state.get(name, []), other.state.get(name, []), "there")
    return found + _counted("call", map(str, first.calls), map(str, other.calls), "made")


def _counted(what: str, wanted: Iterable[str], got: Iterable[str], verb: str) -> list[str]:
    expected, found = Counter(wanted), Counter(got)
    told = []
    for one in dict.fromkeys([*expected, *found]):
        if found[one] == expected[one]:
            continue
        if not expected[one]:
            told.append(f"{what} not expected: {one}")
        elif not found[one]:
            told.append(f"{what} missing: {one}")
        else:
            told.append(f"{what} {verb} {_times(found[one])} instead of {_times(expected[one])}: {one}")
    more = len(told) - SHOWN
    return told if more <= 0 else [*told[:SHOWN], f"{what}: {more} more differences"]


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
