"""What a run of chaos is summed up in: how much was asked for, what it cost, and how soon it was made up for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.faults.history import History
from tests.faults.journal import Move

SUMS = (
    *("accepted", "runs", "violated", "attempts lost", "submissions without an answer", "late outcomes refused"),
    "faults planned",
)


@dataclass(frozen=True)
class Happened:
    """A fault: ``at`` is Unix time, ``node`` whom it hit, ``task_id`` what ran in the child that was killed."""

    what: str
    at: float
    node: str | None
    task_id: str | None = None


def figures(history: History, happened: Sequence[Happened], drained: float) -> dict[str, Any]:
    """Counts, and seconds: until a killed worker's tasks were taken back, until a dead child was recorded, and from a
    server's restart to the next claim."""
    statuses = Counter(row.status for row in history.rows)
    unknown = sum((call.what, call.result) == ("submit", "unknown") for call in history.calls)
    return {
        "accepted": len(history.accepted),
        **{f"ended {status}": count for status, count in sorted(statuses.items())},
        "runs": history.runs,
        "attempts lost": history.lost,
        "submissions without an answer": unknown,
        "taken back after": _each(_taken_back, history.moves, happened, "kill"),
        "crash recorded after": _each(_crashed, history.moves, happened, "child"),
        "first claim after": _each(_claimed, history.moves, happened, "restart"),
        "drained after": round(drained, 2),
    }


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same of many runs: sums, and for seconds the median and the most."""
    told: dict[str, Any] = {"runs of chaos": len(runs)}
    for name in (
        "accepted",
        "runs",
        "violated",
        "attempts lost",
        "submissions without an answer",
        "late outcomes refused",
    ):
        told[name] = sum(one[name] for one in runs)
    faults: Counter[str] = Counter()
    for one in runs:
        faults.update(one["faults"])
    told["faults"] = dict(faults)
    for name in ("taken back after", "crash recorded after", "first claim after"):
        seconds = sorted(wait for one in runs for wait in one[name])
        told[name] = {"times": len(seconds), "median": median(seconds), "most": seconds[-1]} if seconds else None
    return told


def _each(what: Any, moves: Sequence[Move], happened: Sequence[Happened], fault: str) -> list[float]:
    found: list[float] = []
    for one in happened:
        if one.what == fault:
            found += what(moves, one)
    return [round(seconds, 2) for seconds in found]


def _taken_back(moves: Sequence[Move], killed: Happened) -> list[float]:
    """Of all that the node held: the longest."""
    waits = [
        move.at - killed.at
        for move in moves
        if move.before
        and move.before.node_id == killed.node
        and move.at > killed.at
        and move.after.losses > move.before.losses
    ]
    return [max(waits)] if waits else []


def _crashed(moves: Sequence[Move], killed: Happened) -> list[float]:
    for move in moves:
        before, after = move.before, move.after
        if before and move.task_id == killed.task_id and move.at > killed.at and after.crashes > before.crashes:
            return [move.at - killed.at]
    return []  # it had ended just before


def _claimed(moves: Sequence[Move], up: Happened) -> list[float]:
    for move in moves:
        if move.at > up.at and move.before and (move.before.status, move.after.status) == ("pending", "running"):
            return [move.at - up.at]
    return []
