"""Whether a node may take more work. Pure."""

from __future__ import annotations

from jobrunner.node.host import Figures
from jobrunner.queue.reasons import OUT_OF_MEMORY

MEMORY_FULL = 97.0  # percent of the machine's memory


def refusal(
    figures: Figures,
    *,
    running: int,
    cpu_mean: float,
    max_memory_mb: float | None,
    max_cpu_percent: float | None,
) -> str | None:
    """Why this node takes no task now, or None.

    The CPU limit is unset by default (busy cores are no reason to stop) and never blocks the first task of an idle
    node. Memory is full when this process and its children pass ``max_memory_mb``, or the machine has none left.
    """
    used = figures.rss / 2**20
    if max_memory_mb is not None and used >= max_memory_mb:
        return f"{OUT_OF_MEMORY}: {used:.0f} MiB used, max_memory_mb is {max_memory_mb:g}"
    if figures.memory_percent >= MEMORY_FULL and running:
        return f"{OUT_OF_MEMORY}: the machine's memory is {figures.memory_percent:.0f} % full"
    if max_cpu_percent is not None and running and cpu_mean > max_cpu_percent:
        return f"over the CPU limit: {cpu_mean:.0f} % over ten seconds, max_cpu_percent is {max_cpu_percent:g}"
    return None
