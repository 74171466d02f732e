"""What an outcome does to its task. Pure: the budgets meet here, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from jobrunner.queue.task import CRASH_BUDGET, SNOOZE_BUDGET, Ending, Outcome, Status, Task


@dataclass(frozen=True, slots=True)
class Verdict:
    """The move that settles an attempt: where the task goes, what is counted, when it may run again (seconds)."""

    status: Status
    counted: str | None = None  # the counter that rises by one: failures, crashes, releases or snoozes
    delay: float = 0.0
    error: str | None = None


def decide(task: Task, outcome: Outcome) -> Verdict:
    """The verdict on one attempt of a task whose counters stand as they were when it was claimed."""
    told = outcome.error
    match outcome.ending:
        case Ending.COMPLETED:
            return Verdict(Status.COMPLETED)
        case Ending.CANCELLED:
            return Verdict(Status.CANCELLED, error=told or "cancelled")
        case Ending.REFUSED:
            return Verdict(Status.FAILED, "failures", error=told)
        case Ending.ERROR | Ending.TIMEOUT:
            return _again(task.failures, task.max_attempts, "failures", outcome, told)
        case Ending.CRASHED | Ending.OUT_OF_MEMORY:
            spent = f"{told or outcome.ending} (its process died {CRASH_BUDGET} times)"
            final = spent if task.crashes + 1 >= CRASH_BUDGET else told
            return _again(task.crashes, CRASH_BUDGET, "crashes", outcome, final)
        case Ending.RETRY_LATER:
            spent = f"asked {SNOOZE_BUDGET} times to run later"
            final = spent if task.snoozes + 1 >= SNOOZE_BUDGET else None
            return _again(task.snoozes, SNOOZE_BUDGET, "snoozes", outcome, final)
        case Ending.RELEASED:
            return Verdict(Status.PENDING, "releases", outcome.delay)
        case Ending.LOST:
            raise ValueError("who has lost a task settles nothing")


def _again(spent: int, budget: int, counter: str, outcome: Outcome, error: str | None) -> Verdict:
    if spent + 1 >= budget:
        return Verdict(Status.FAILED, counter, error=error)
    return Verdict(Status.PENDING, counter, outcome.delay, error)
