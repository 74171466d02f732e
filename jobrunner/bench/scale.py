"""How much is done: the counts and durations of every measurement, in full size and for a smoke."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Counts are tasks, rows or samples; durations are in seconds."""

    rounds: int = 5
    tasks: int = 20_000
    workers: tuple[int, ...] = (1, 2)
    samples: int = 200  # of a latency, in each round
    singles: int = 1_000  # single enqueues, in each round
    writers: int = 8
    writes: int = 500  # by each writer
    bulks: tuple[int, ...] = (1_000, 10_000)
    children: int = 10_000
    requests: int = 10_000
    few: int = 10_000  # pending tasks that claims are compared with
    many: int = 1_000_000
    ended: int = 2_000_000
    claims: int = 60
    rate: int = 1_000  # tasks a second beside an old snapshot
    seconds: float = 60.0  # ... for so long
    idle: float = 20.0


QUICK = Scale(
    rounds=1,
    tasks=300,
    workers=(1,),
    samples=10,
    singles=20,
    writers=2,
    writes=10,
    bulks=(100,),
    children=50,
    requests=80,
    few=500,
    many=2_000,
    ended=2_000,
    claims=5,
    rate=200,
    seconds=2.0,
    idle=2.0,
)
"""A smoke: everything is done, nothing is measured well."""
