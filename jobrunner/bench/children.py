"""Plain functions that do nothing, in two warm child processes."""

from __future__ import annotations

from jobrunner.bench import tasks
from jobrunner.bench.figure import Figure, Goal, Measured
from jobrunner.bench.stage import Stage
from jobrunner.bench.work_off import work_off

SLOTS = 2


def children(stage: Stage) -> Measured:
    """Tasks a second of one worker; nothing bare stands beside, since a bare loop has no children."""
    scale = stage.scale
    measured = Measured()
    rates = []
    with stage.told.steps(f"children: {scale.children} tasks, {scale.rounds} rounds", scale.rounds):
        for _ in range(scale.rounds):
            rates.append(work_off(stage, tasks.PLAIN, scale.children, "--max-workers", str(SLOTS))["rate"])
            measured.did("ours", scale.children)
            stage.told.step(f"children: {rates[-1]:.0f} tasks/s")
    name = f"plain function, {SLOTS} children"
    measured.figures.append(Figure(name, "tasks/s", tuple(rates), goal=Goal(4_000, "ours")))
    return measured
