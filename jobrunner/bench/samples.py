"""Samples of two sides taken one by one in turn, and the percentiles of each round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobrunner.bench.figure import Figure, Goal, percentile
from jobrunner.bench.senders import rest
from jobrunner.bench.stage import Stage

WARM = 5  # samples that do not count
MS = 1e-6  # of a nanosecond


def alternate(stage: Stage, what: str, ours: Callable[[], object], bare: Callable[[], object]) -> None:
    """Take every round's samples of both, a short rest after each."""
    scale = stage.scale
    with stage.told.steps(f"{what}: {scale.samples} samples of each, {scale.rounds} rounds", scale.rounds):
        for number in range(scale.rounds):
            for sample in range(scale.samples):
                for send in (bare, ours) if sample % 2 == 0 else (ours, bare):
                    send()
                    rest()
            stage.told.step(f"{what}: round {number + 1} of {scale.rounds}")


def percentiles(
    stage: Stage, name: str, ours: Sequence[float], bare: Sequence[float], goals: dict[int, Goal], against: str
) -> list[Figure]:
    """p50, p95 and p99 in milliseconds; both sides hold the samples of all rounds, in order."""
    size = stage.scale.samples

    def each(values: Sequence[float], percent: int) -> tuple[float, ...]:
        return tuple(percentile(values[first : first + size], percent) for first in range(0, len(values), size))

    return [
        Figure(f"{name} p{percent}", "ms", each(ours, percent), each(bare, percent), against, False, goals.get(percent))
        for percent in (50, 95, 99)
    ]
