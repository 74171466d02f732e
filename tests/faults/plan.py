"""What a seed stands for: the workers, the tasks and the faults of one run of chaos, each with its moment."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SECONDS = 12.0  # in which tasks come and faults happen

FAULTS = {
    "kill": 4,  # SIGKILL to a worker; another one starts
    "freeze": 2,  # SIGSTOP for longer than the lease, then SIGCONT
    "drain": 2,  # SIGTERM to a worker; another one starts
    "child": 3,  # SIGKILL to one of a worker's children
    "backends": 2,  # every connection is ended by the server
    "restart": 1,  # the server crashes and recovers
    "cut": 2,  # the links of a worker behind a wire end
    "silence": 1,  # ... or go silent, for longer than the lease
    "forget": 1,  # all rows of nodes are deleted
    "answers": 4,  # the client's links end, in the middle of whatever it asks
    "commit": 3,  # a link of a worker behind a wire ends at a claim, a renewal or an end of a task
}
"""Each with how often it comes, in parts."""

POINTS = {
    **dict.fromkeys(("claim-before", "claim-after-commit", "settle-before"), 20),
    **dict.fromkeys(("settle-after-commit", "renew-before", "renew-after"), 10),
    "settle-before-commit": 4,
    **dict.fromkeys(
        ("reclaim-before-commit", "reclaim-after-commit", "firing-before-commit", "firing-after-commit"), 2
    ),
}
"""Where a worker may kill itself, and at which of its visits there at the latest."""

KINDS: Mapping[str, int] = {
    "fault.work": 50,
    "fault.async": 50,
    "fault.inline": 20,
    "fault.transaction": 20,
    "fault.talk": 10,
    "fault.fail": 20,
    "fault.die": 2,  # each of its three attempts costs a new child, which takes a second of a processor
}


@dataclass(frozen=True)
class Request:
    """One task that the client hands in."""

    at: float
    task_id: str
    task_type: str
    data: dict[str, Any]
    options: dict[str, Any]
    cancel_at: float | None = None
    retry_at: float | None = None
    other_at: float | None = None  # when another request comes under its id


@dataclass(frozen=True)
class Fault:
    """``who`` picks among those who are there; ``lasts`` in seconds, where it does.

    ``how`` is the failpoint of the worker that starts in place of one that goes, or at which statement a link ends,
    and how.
    """

    at: float
    what: str
    who: int
    lasts: float = 0.0
    how: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything that chance decides; times in seconds from the start."""

    seed: int
    workers: int
    slots: int
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def plan(seed: int, tasks: int, lease: float) -> Plan:
    """The same for the same seed."""
    chance = random.Random(seed)
    made = Plan(seed, chance.randint(2, 4), chance.randint(2, 4))
    for number in range(tasks):
        made.requests.append(_request(chance, seed, number))
    made.requests.sort(key=lambda one: one.at)
    for _ in range(chance.randint(8, 14)):
        what = chance.choices([*FAULTS], [*FAULTS.values()])[0]
        lasts = lease * chance.uniform(1.5, 2.0) if what in ("freeze", "silence") else 0.0
        made.faults.append(
            Fault(chance.uniform(1.0, SECONDS), what, chance.randrange(1_000), lasts, _how(chance, what))
        )
    made.faults.sort(key=lambda one: one.at)
    return made


def _how(chance: random.Random, what: str) -> str:
    if what == "commit":
        return f"{chance.choice(['before', 'told', 'answered'])} {chance.choice(['claim', 'renewal', 'end'])}"
    if what in ("kill", "drain") and chance.random() < 0.5:
        point = chance.choice([*POINTS])
        return f"{point}:kill:{chance.randint(1, POINTS[point])}"
    return ""


def _request(chance: random.Random, seed: int, number: int) -> Request:
    kind = chance.choices([*KINDS], [*KINDS.values()])[0]
    data: dict[str, Any] = {}
    if kind in ("fault.work", "fault.async", "fault.inline"):
        some = [0.0, 0.02, 0.1, 0.3] * 8 + [3.0]  # a few outlast the lease, and a grace
        data["seconds"] = chance.choice(some) * (kind != "fault.inline")
        data["effect"] = chance.choice(["", "fault.row"])
    elif kind == "fault.talk":
        data = {"lines": 5, "seconds": 0.2}
    elif kind == "fault.fail":
        data["until_attempt"] = chance.randint(2, 3)
    options: dict[str, Any] = {"priority": chance.choice([1, 5, 5, 5, 9])}
    if chance.random() < 0.1:
        options["delay"] = round(chance.uniform(0.5, 4.0), 2)
    if chance.random() < 0.1:
        options["unique_key"] = f"key-{chance.randrange(5)}"
    at = chance.uniform(0.0, SECONDS) if chance.random() < 0.6 else 0.0
    cancel_at = at + chance.uniform(0.0, 1.0) if chance.random() < 0.08 else None
    retry_at = cancel_at + chance.uniform(0.0, 3.0) if cancel_at is not None and chance.random() < 0.5 else None
    other_at = at + chance.uniform(0.0, 3.0) if chance.random() < 0.04 else None
    return Request(at, f"{seed}-{number}", kind, data, options, cancel_at, retry_at, other_at)
